"""A small world of families, from a seed: what the demo sends, and in which disorder it arrives.

Pure: the same seed, size and time give the same bytes.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import NamedTuple

from kinstream_devkit.generate.edges import edge_events
from kinstream_devkit.generate.families import Family, Person, make_families
from kinstream_devkit.generate.sessions import Event, make_id, sessions_of_family, text_of
from kinstream_devkit.generate.walks import WALKS, Place, places_of, walk_events

DAYS = 10
EVENTS_A_FAMILY = (32, 48)
WALK_ROUNDS = 2
"""How many families take each of the walks."""

DUPLICATE_SHARE = 0.05
LATE_SHARE = 0.05
_FARTHEST_DUPLICATE = 4_000


class Delivery(NamedTuple):
    """One event on the wire. `flaw` says what is wrong with an event that must be rejected."""

    event: Event
    flaw: str | None = None


@dataclass(frozen=True, slots=True)
class Workload:
    """What is sent. Places and people go first, then the deliveries in their order."""

    deliveries: list[Delivery]
    places: list[Place] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    duplicates: int = 0
    late: int = 0

    @property
    def accepted(self) -> list[Event]:
        """Every event that must be accepted, as often as it is sent."""
        return [delivery.event for delivery in self.deliveries if delivery.flaw is None]


def generate(seed: int, customers: int, now: datetime) -> Workload:
    """The whole input: about 42 events a customer before duplicates, all within ten days of `now`."""
    rng = random.Random(seed)
    families = make_families(rng, customers)
    bursts = [
        burst
        for family in families
        for burst in sessions_of_family(rng, family, now, DAYS, rng.randint(*EVENTS_A_FAMILY))
    ]
    bursts.extend(edge_events(now))
    walkers = families[: len(WALKS) * WALK_ROUNDS]
    places = {family.customer_id: places_of(rng, family) for family in walkers}
    bursts.extend(_walks(rng, walkers, places, now))
    # A device keeps what it has and sends it when its burst is over.
    bursts.sort(key=lambda burst: datetime.fromisoformat(burst[-1]["occurred_at"]))
    ordered = [event for burst in bursts for event in burst]
    late = round(len(ordered) * LATE_SHARE)
    duplicates = round(len(ordered) * DUPLICATE_SHARE)
    disordered = _repeat_some(rng, _delay_some(rng, ordered, late), duplicates)
    return Workload(
        deliveries=_mix_in_bad_ones(rng, disordered, now),
        places=[place for known in places.values() for place in known],
        people=[person for family in walkers for person in (family.guardian, *family.children)],
        duplicates=duplicates,
        late=late,
    )


def renamed(workload: Workload, tag: str) -> Workload:
    """The same with other customers and stories: each name gets the tag at its end."""

    def event_of(event: Event) -> Event:
        data = event["data"]
        if data.get("content_id"):
            data = data | {"content_id": f"{data['content_id']}-{tag}"}
        return event | {"customer_id": f"{event['customer_id']}-{tag}", "data": data}

    return replace(
        workload,
        deliveries=[Delivery(event_of(event), flaw) for event, flaw in workload.deliveries],
        places=[replace(place, customer_id=f"{place.customer_id}-{tag}") for place in workload.places],
        people=[replace(person, customer_id=f"{person.customer_id}-{tag}") for person in workload.people],
    )


def _walks(
    rng: random.Random, walkers: Sequence[Family], places: dict[str, tuple[Place, Place]], now: datetime
) -> list[list[Event]]:
    afternoon = (now - timedelta(days=2)).replace(hour=13, minute=5, second=0, microsecond=0)
    bursts = []
    for number, family in enumerate(walkers):
        start = afternoon + timedelta(milliseconds=rng.randrange(1_800_000))
        home = places[family.customer_id][0]
        walk = WALKS[number % len(WALKS)]
        bursts.append(walk_events(rng, family.children[0], home, walk(), start))
    return bursts


def _delay_some(rng: random.Random, ordered: list[Event], count: int) -> list[Event]:
    """So many events move to a random place later in the order of sending."""
    moved = set(rng.sample(range(len(ordered)), count))
    positions = [(index, event) for index, event in enumerate(ordered) if index not in moved]
    positions += [(rng.randint(index, len(ordered)), ordered[index]) for index in sorted(moved)]
    return [event for _, event in sorted(positions, key=lambda placed: placed[0])]


def _repeat_some(rng: random.Random, events: list[Event], count: int) -> list[Event]:
    """So many events are sent again, at least 60 places later: never in the same request."""
    positions: list[tuple[float, Event]] = list(enumerate(events))
    for index in rng.sample(range(len(events)), count):
        positions.append((index + rng.randint(60, _FARTHEST_DUPLICATE) + 0.5, events[index]))
    return [event for _, event in sorted(positions, key=lambda placed: placed[0])]


def _mix_in_bad_ones(rng: random.Random, events: list[Event], now: datetime) -> list[Delivery]:
    deliveries = [Delivery(event) for event in events]
    for bad in _bad_deliveries(rng, events[0], now):
        deliveries.insert(rng.randrange(len(deliveries)), bad)
    return deliveries


def _bad_deliveries(rng: random.Random, good: Event, now: datetime) -> list[Delivery]:
    """Events that the API must reject, each made of a good one."""

    def bad(flaw: str, **changes: object) -> Delivery:
        return Delivery(good | {"id": make_id(rng)} | changes, flaw)

    without_id = {key: value for key, value in good.items() if key != "id"}
    place = {"person_id": "kid-1", "latitude": 123.0, "longitude": 18.0, "accuracy_m": 5}
    return [
        Delivery(without_id, "no id"),
        bad("an unknown field", colour="blue"),
        bad("two days ahead", occurred_at=text_of(now + timedelta(days=2))),
        bad("no time at all", occurred_at="yesterday"),
        bad("an empty id", id=""),
        bad("a story without its id", type="content.viewed", data={}),
        bad("a latitude of 123", type="location.updated", data=place),
    ]
