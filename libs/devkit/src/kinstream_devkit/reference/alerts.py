"""The plain truth about alerts: which walks raise one, where, and when it is over."""

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from kinstream_devkit.reference.events import Event, time_of, without_duplicates

EARTH_RADIUS_M = 6_371_008.8
DWELL = timedelta(minutes=5)
DWELL_FIXES = 3
WORST_ACCURACY_M = 500


class Place(Protocol):
    """A circle that a customer knows."""

    @property
    def customer_id(self) -> str: ...
    @property
    def latitude(self) -> float: ...
    @property
    def longitude(self) -> float: ...
    @property
    def radius_m(self) -> float: ...


@dataclass(frozen=True)
class Alert:
    """Somebody stayed at an unknown place, from then until then."""

    person_id: str
    raised_at: datetime
    resolved_at: datetime | None
    latitude: float
    longitude: float


def alerts_of(events: Iterable[Event], places: Iterable[Place]) -> dict[str, list[Alert]]:
    """Alerts by customer, in order of time for each person."""
    known: dict[str, list[Place]] = defaultdict(list)
    for place in places:
        known[place.customer_id].append(place)
    fixes: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in without_duplicates(events):
        if event["type"] == "location.updated" and event["data"]["accuracy_m"] <= WORST_ACCURACY_M:
            fixes[event["customer_id"], event["data"]["person_id"]].append(event)
    alerts: dict[str, list[Alert]] = defaultdict(list)
    for (customer, person), of_person in fixes.items():
        alerts[customer] += _alerts_of_person(person, sorted(of_person, key=time_of), known[customer])
    return {customer: raised for customer, raised in alerts.items() if raised}


def _alerts_of_person(person: str, fixes: list[Event], known: list[Place]) -> list[Alert]:
    alerts: list[Alert] = []
    run: list[Event] = []
    """Unknown fixes since the last known one."""
    raised_by: Event | None = None
    for fix in fixes:
        if is_unknown(fix, known):
            run.append(fix)
            long_enough = time_of(fix) - time_of(run[0]) >= DWELL or len(run) >= DWELL_FIXES
            if raised_by is None and long_enough:
                raised_by = fix
        else:
            if raised_by is not None:
                alerts.append(_alert(person, raised_by, time_of(fix)))
            run, raised_by = [], None
    if raised_by is not None:
        alerts.append(_alert(person, raised_by, None))
    return alerts


def _alert(person: str, fix: Event, resolved_at: datetime | None) -> Alert:
    data = fix["data"]
    return Alert(person, time_of(fix), resolved_at, data["latitude"], data["longitude"])


def is_unknown(fix: Event, known: list[Place]) -> bool:
    """Whether a fix lies outside of every circle, however wrong its accuracy lets it be."""
    data = fix["data"]
    return bool(known) and all(
        distance_m(data["latitude"], data["longitude"], place.latitude, place.longitude)
        > place.radius_m + data["accuracy_m"]
        for place in known
    )


def distance_m(latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float) -> float:
    """Great-circle distance by the haversine formula."""
    a, b = math.radians(latitude_a), math.radians(latitude_b)
    over = math.radians(longitude_b - longitude_a)
    chord = math.sin((b - a) / 2) ** 2 + math.cos(a) * math.cos(b) * math.sin(over / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(chord))
