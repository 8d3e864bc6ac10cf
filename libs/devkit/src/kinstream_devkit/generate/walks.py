"""Children on their way: fixes that stay at known places, and walks that end somewhere unknown."""

import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from kinstream_devkit.generate.families import Family, Person
from kinstream_devkit.generate.sessions import Event, make_id, text_of

METRES_A_DEGREE = 111_195.0
_TOWN = (59.3293, 18.0686)
_HOME_RADIUS_M, _SCHOOL_RADIUS_M = 120.0, 150.0
_NORTH_OF_HOME_M = 1_400.0
"""School lies north of home, the park and everything unknown east of both."""


@dataclass(frozen=True, slots=True)
class Place:
    """A circle the family knows."""

    customer_id: str
    place_id: str
    name: str
    latitude: float
    longitude: float
    radius_m: float


class Step(NamedTuple):
    """One fix of a walk: seconds after its start, metres east and north of home, accuracy."""

    after_seconds: float
    east_m: float
    north_m: float
    accuracy_m: float = 12.0


def _at_home(start: float, count: int = 3) -> Iterator[Step]:
    return (Step(start + 600 * n, 10 * n, 5, 15) for n in range(count))


def _stays_in_the_park() -> Iterator[Step]:
    """Walks away, stays, comes back home: one alert, resolved."""
    yield from _at_home(0)
    yield from (Step(2_000 + 75 * n, 300 + 90 * n, 200) for n in range(12))
    yield from _at_home(4_000)


def _has_not_come_back() -> Iterator[Step]:
    """One alert that nothing resolves."""
    yield from _at_home(0)
    yield from (Step(2_000 + 90 * n, 500 + 40 * n, -300) for n in range(8))


def _walks_to_school() -> Iterator[Step]:
    """Two quick fixes between the circles: no alert."""
    yield from _at_home(0)
    yield from (Step(2_000, 60, 500), Step(2_150, 60, 900))
    yield from (Step(2_300 + 900 * n, 0, _NORTH_OF_HOME_M, 20) for n in range(5))


def _waits_where_fixes_are_rare() -> Iterator[Step]:
    """Two fixes, exactly five minutes apart: the dwell time raises it, not the count."""
    yield from _at_home(0)
    yield from (Step(2_000, 900, 0), Step(2_300, 950, 0))
    yield from _at_home(3_000)


def _is_seen_badly() -> Iterator[Step]:
    """Far away by fixes too inaccurate to decide anything, and one that is usable: no alert."""
    yield from _at_home(0)
    yield from (Step(2_000 + 240 * n, 2_000, 800, 501 + 100 * n) for n in range(6))
    yield Step(3_500, 650, 0, 500.0)
    yield Step(3_560, 700, 0, 500.0)
    yield from _at_home(4_000)


def _goes_twice() -> Iterator[Step]:
    """Two walks on one afternoon: two alerts, both resolved."""
    for start in (0, 7_000):
        yield from _at_home(start)
        yield from (Step(start + 2_000 + 100 * n, 400 + 60 * n, 700) for n in range(5))
    yield from _at_home(14_000)


def _stays_at_the_edge() -> Iterator[Step]:
    """Outside of the circle by less than the fix's accuracy: known, no alert."""
    yield from _at_home(0)
    yield from (Step(2_000 + 120 * n, _HOME_RADIUS_M + 40, 0, 60) for n in range(6))


def _plays_in_the_garden() -> Iterator[Step]:
    """Never leaves."""
    yield from _at_home(0, 12)


WALKS: tuple[Callable[[], Iterator[Step]], ...] = (
    _stays_in_the_park,
    _has_not_come_back,
    _walks_to_school,
    _waits_where_fixes_are_rare,
    _is_seen_badly,
    _goes_twice,
    _stays_at_the_edge,
    _plays_in_the_garden,
)


def places_of(rng: random.Random, family: Family) -> tuple[Place, Place]:
    """The family's home and school."""
    latitude = round(_TOWN[0] + rng.uniform(-0.2, 0.2), 5)
    longitude = round(_TOWN[1] + rng.uniform(-0.2, 0.2), 5)
    school = round(latitude + _NORTH_OF_HOME_M / METRES_A_DEGREE, 5)
    return (
        Place(family.customer_id, "home", "Home", latitude, longitude, _HOME_RADIUS_M),
        Place(family.customer_id, "school", "School", school, longitude, _SCHOOL_RADIUS_M),
    )


def walk_events(
    rng: random.Random, child: Person, home: Place, steps: Iterator[Step], start: datetime
) -> list[Event]:
    """The walk as `location.updated` events of the child's watch."""
    return [_fix(rng, child, home, step, start) for step in steps]


def _fix(rng: random.Random, child: Person, home: Place, step: Step, start: datetime) -> Event:
    east_degrees = step.east_m / (METRES_A_DEGREE * math.cos(math.radians(home.latitude)))
    return {
        "id": make_id(rng),
        "type": "location.updated",
        "customer_id": child.customer_id,
        "device_id": f"watch-{child.person_id}",
        "person_id": child.person_id,
        "occurred_at": text_of(start + timedelta(seconds=step.after_seconds)),
        "data": {
            "person_id": child.person_id,
            "latitude": round(home.latitude + step.north_m / METRES_A_DEGREE, 6),
            "longitude": round(home.longitude + east_degrees, 6),
            "accuracy_m": step.accuracy_m,
        },
    }
