"""Alerts hang on the set of fixes alone: walking it in pieces gives what walking it whole gives."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kinstream.events import LocationData
from session_worker.domain.safety import (
    DWELL_MS,
    Alert,
    Fix,
    Run,
    Verdict,
    distance_m,
    judge,
    reconcile,
    walk,
)

fixes = st.lists(st.tuples(st.integers(1, 400_000), st.sampled_from(Verdict)), max_size=40)


def at_times(rows) -> list[Fix]:
    now_ms, found = 0, []
    for gap_ms, verdict in rows:
        now_ms += gap_ms
        found.append(Fix(now_ms, verdict, float(now_ms), 0.0))
    return found


def plain(walked: list[Fix]) -> list[Alert]:
    """The definition: split usable fixes at the known ones, look at each run by itself."""
    alerts: list[Alert] = []
    run: list[Fix] = []
    for fix in [f for f in walked if f.verdict != Verdict.UNUSABLE] + [Fix(-1, Verdict.KNOWN)]:
        if fix.verdict == Verdict.UNKNOWN:
            run.append(fix)
            continue
        raising = [
            f for count, f in enumerate(run, 1) if count >= 3 or f.time_ms - run[0].time_ms >= DWELL_MS
        ]
        if raising:
            resolved_ms = fix.time_ms if fix.time_ms >= 0 else None
            alerts.append(Alert(raising[0].time_ms, raising[0].latitude, 0.0, resolved_ms))
        run = []
    return alerts


def walked_in_pieces(pieces: list[list[Fix]]) -> list[Alert]:
    run: Run | None = None
    alerts: list[Alert] = []
    for piece in pieces:
        walked = walk(run, piece)
        if walked.resolved_ms is not None:
            last = alerts.pop()
            alerts.append(Alert(last.raised_ms, last.latitude, last.longitude, walked.resolved_ms))
        alerts += walked.raised
        run = walked.carry
    return alerts


@given(fixes)
def test_walk_finds_the_alerts_of_the_definition(rows):
    assert walk(None, at_times(rows)).raised == plain(at_times(rows))


@given(fixes, st.lists(st.integers(0, 40), max_size=5))
def test_walk_in_pieces_is_the_walk_of_the_whole(rows, cuts):
    whole = at_times(rows)
    borders = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    pieces = [whole[start:end] for start, end in pairwise(borders)]
    assert walked_in_pieces(pieces) == plain(whole)


@given(fixes, fixes)
def test_reconciling_keeps_every_alert_of_now_and_every_id_once(before, now):
    old = [Alert(a.raised_ms, 0, 0, a.resolved_ms, f"id-{n}") for n, a in enumerate(plain(at_times(before)))]
    result = reconcile(old, plain(at_times(now)))
    assert [(a.raised_ms, a.resolved_ms) for a in result.alerts] == [
        (a.raised_ms, a.resolved_ms) for a in plain(at_times(now))
    ]
    ids = [a.alert_id for a in [*result.alerts, *result.withdrawn] if a.alert_id]
    assert sorted(ids) == sorted(a.alert_id for a in old)


def location(latitude: float, accuracy_m: float = 10) -> LocationData:
    return LocationData(person_id="kid", latitude=latitude, longitude=13.4, accuracy_m=accuracy_m)


HOME = {"latitude": 52.52, "longitude": 13.4, "radius_m": 100.0}


def test_fix_is_unknown_beyond_radius_and_accuracy_together():
    # One degree of latitude is 111.195 km on the mean sphere: 0.001 degrees are 111.2 m.
    assert judge(location(52.521, accuracy_m=11), [HOME]) == Verdict.UNKNOWN
    assert judge(location(52.521, accuracy_m=12), [HOME]) == Verdict.KNOWN


def test_inaccurate_fix_decides_nothing():
    assert judge(location(60, accuracy_m=501), [HOME]) == Verdict.UNUSABLE


def test_family_without_places_is_never_surprised():
    assert judge(location(60), []) == Verdict.KNOWN


def test_distance_is_that_of_the_great_circle():
    # Berlin to Paris, by the same formula computed by hand to the metre: 878 km.
    assert abs(distance_m(52.52, 13.405, 48.8566, 2.3522) - 877_464) < 1_000
