"""When a child is at an unknown place: alerts as a function of the set of location fixes.

Each fix is judged once, when it is counted, against the places known then. A run of unknown fixes raises
one alert when it has dwelt long enough, and the first known fix after it resolves the alert.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from kinstream.events import LocationData

EARTH_RADIUS_M = 6_371_008.8
MAX_ACCURACY_M = 500.0
DWELL_MS = 5 * 60 * 1000
DWELL_FIXES = 3


class Verdict(IntEnum):
    """What a fix says about where the person is."""

    KNOWN = 0
    UNKNOWN = 1
    UNUSABLE = 2


class Fix(NamedTuple):
    """One judged fix. Degrees are kept of unknown ones alone."""

    time_ms: int
    verdict: Verdict
    latitude: float = 0.0
    longitude: float = 0.0


class Run(msgspec.Struct, frozen=True, array_like=True):
    """A run of unknown fixes that has not ended: what one bucket carries into the next."""

    first_ms: int
    fixes: int
    raised: bool = False


RAISED = Run(0, 0, raised=True)
"""A run whose alert is out: how long it has been does not matter any more, so later buckets stay the same."""


class Alert(msgspec.Struct, frozen=True, array_like=True):
    """An alert as the fixes tell it. `alert_id` is empty until it is given one."""

    raised_ms: int
    latitude: float
    longitude: float
    resolved_ms: int | None = None
    alert_id: str = ""


def judge(fix: LocationData, places: Iterable[Mapping[str, Any]]) -> Verdict:
    """Unknown: farther from every place than its radius and the fix's accuracy together."""
    if fix.accuracy_m > MAX_ACCURACY_M:
        return Verdict.UNUSABLE
    distances = [
        distance_m(fix.latitude, fix.longitude, place["latitude"], place["longitude"]) - place["radius_m"]
        for place in places
    ]
    # A family that has named no place cannot be surprised by one.
    return Verdict.UNKNOWN if distances and min(distances) > fix.accuracy_m else Verdict.KNOWN


def distance_m(latitude_a: float, longitude_a: float, latitude_b: float, longitude_b: float) -> float:
    """Great-circle distance in metres (haversine formula, mean earth radius)."""
    a, b = math.radians(latitude_a), math.radians(latitude_b)
    half_latitude = math.sin((b - a) / 2) ** 2
    half_longitude = math.sin(math.radians(longitude_b - longitude_a) / 2) ** 2
    return (
        2 * EARTH_RADIUS_M * math.asin(math.sqrt(half_latitude + math.cos(a) * math.cos(b) * half_longitude))
    )


class Walked(NamedTuple):
    """Where a walk ended, what it raised, and when it resolved the alert that it came in with."""

    carry: Run | None
    raised: list[Alert]
    resolved_ms: int | None


def walk(carry: Run | None, fixes: Iterable[Fix]) -> Walked:
    """Walk fixes in order of time from the run that is under way."""
    run, raised = carry, list[Alert]()
    carried_open = carry == RAISED
    resolved_ms: int | None = None
    for fix in fixes:
        if fix.verdict is Verdict.UNUSABLE:
            continue
        if fix.verdict is Verdict.KNOWN:
            if run == RAISED:
                if raised:
                    raised[-1] = msgspec.structs.replace(raised[-1], resolved_ms=fix.time_ms)
                elif carried_open:
                    resolved_ms = fix.time_ms
            run = None
            continue
        if run == RAISED:
            continue
        run = Run(run.first_ms, run.fixes + 1) if run else Run(fix.time_ms, 1)
        if _dwelt(run, fix.time_ms):
            run = RAISED
            raised.append(Alert(fix.time_ms, fix.latitude, fix.longitude))
    return Walked(run, raised, resolved_ms)


def _dwelt(run: Run, now_ms: int) -> bool:
    return run.fixes >= DWELL_FIXES or now_ms - run.first_ms >= DWELL_MS


class Reconciled(NamedTuple):
    """Alerts as they stand now, and those of before that the fixes no longer bear out."""

    alerts: list[Alert]
    withdrawn: list[Alert]


def reconcile(before: Sequence[Alert], now: Sequence[Alert]) -> Reconciled:
    """Give the alerts of now the ids of those that they continue: same start, else overlapping."""
    starts = {alert.raised_ms for alert in now}
    by_start = {old.raised_ms: old for old in before if old.raised_ms in starts}
    others = [old for old in before if old.raised_ms not in starts]
    alerts = []
    for alert in now:
        match = by_start.get(alert.raised_ms) or next((old for old in others if _overlap(old, alert)), None)
        if match in others:
            others.remove(match)
        alerts.append(msgspec.structs.replace(alert, alert_id=match.alert_id) if match else alert)
    return Reconciled(alerts, others)


def _overlap(a: Alert, b: Alert) -> bool:
    return (b.resolved_ms is None or a.raised_ms < b.resolved_ms) and (
        a.resolved_ms is None or b.raised_ms < a.resolved_ms
    )
