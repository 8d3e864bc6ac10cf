"""The plain reference: order and repetition of its input change nothing, and hand-made cases hold."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kinstream_devkit.generate.walks import Place
from kinstream_devkit.reference.alerts import Alert, alerts_of
from kinstream_devkit.reference.events import Activity, truth_of

START = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOME = Place("fam", "home", "Home", 59.0, 18.0, 100.0)


def event(number: int, seconds: float, kind: str = "content.viewed", **data: Any) -> dict[str, Any]:
    moment = (START + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")
    return {
        "id": str(number),
        "type": kind,
        "customer_id": "fam",
        "device_id": "ipad",
        "occurred_at": moment,
        "data": data,
    }


def fix(number: int, seconds: float, metres_north: float, accuracy: float = 10) -> dict[str, Any]:
    latitude = 59.0 + metres_north / 111_195
    data = {"person_id": "kid", "latitude": latitude, "longitude": 18.0, "accuracy_m": accuracy}
    return event(number, seconds, "location.updated", **data)


events = st.builds(
    lambda number, minutes, kind, story, activity: event(
        number, minutes * 60, kind, content_id=story, activity=activity
    ),
    st.integers(0, 5),
    st.integers(0, 200),
    st.sampled_from(["content.viewed", "content.liked", "content.unliked", "screen.viewed"]),
    st.sampled_from(["a", "b"]),
    st.sampled_from(["reading", "", None]),
)
# An id stands for one event: the same id at the same time with other content is no input that exists.
histories = st.lists(events, max_size=30, unique_by=lambda event: (event["occurred_at"], event["id"]))
fixes = st.lists(
    st.builds(fix, st.integers(0, 10**6), st.integers(0, 3_600), st.sampled_from([0, 105, 400, 900])),
    max_size=20,
    unique_by=lambda event: event["occurred_at"],
)


@given(histories, st.data())
def test_order_and_repetition_change_no_session_and_no_counter(history, data):
    again = data.draw(
        st.permutations(history + data.draw(st.lists(st.sampled_from(history or [event(0, 0)]))))
    )
    if history:
        assert truth_of(again) == truth_of(history)


@given(fixes, st.data())
def test_order_and_repetition_change_no_alert(walk, data):
    again = data.draw(st.permutations(walk + walk[:5]))
    assert alerts_of(again, [HOME]) == alerts_of(walk, [HOME])


@given(histories)
def test_sessions_hold_every_active_event_once(history):
    truth = truth_of(history)
    assert sum(session.event_count for session in truth.sessions.get("fam", [])) == len(history)
    assert sum(truth.by_type.get("fam", {}).values()) == len(history)


def test_a_gap_of_thirty_minutes_joins_and_a_millisecond_more_splits():
    truth = truth_of([event(1, 0), event(2, 1_800), event(3, 3_600.001)])
    first, second = truth.sessions["fam"]
    assert (first.started_at, first.ended_at, first.event_count) == (START, START + timedelta(minutes=30), 2)
    assert second.started_at == second.ended_at == START + timedelta(hours=1, milliseconds=1)


def test_a_session_is_cut_when_an_event_is_more_than_24_hours_after_its_start():
    truth = truth_of([event(n, n * 1_200) for n in range(76)])
    assert [session.event_count for session in truth.sessions["fam"]] == [73, 3]


def test_activities_share_engaged_time_with_idle_capped():
    history = [
        event(1, 0, activity="reading", content_id="b"),
        event(2, 60, "content.liked", content_id="a"),
        event(3, 90, activity="reading", content_id="b"),
        event(4, 1_000, "screen.viewed"),
    ]
    (session,) = truth_of(history).sessions["fam"]
    assert session.activities == (
        Activity("reading", 360.0, 0.9231, 2),
        Activity("content.liked", 30.0, 0.0769, 1),
        Activity("screen.viewed", 0.0, 0.0, 1),
    )
    assert session.content_ids == ("b", "a")


def test_share_is_by_events_where_no_time_passed():
    history = [event(1, 0, activity="reading"), event(2, 0, activity="reading"), event(3, 0)]
    (session,) = truth_of(history).sessions["fam"]
    assert [(a.name, a.share) for a in session.activities] == [
        ("reading", 0.6667),
        ("content.viewed", 0.3333),
    ]


def test_devices_have_sessions_of_their_own_and_locations_are_in_none():
    other = event(2, 60) | {"device_id": "phone"}
    truth = truth_of([event(1, 0), other, fix(3, 90, 0)])
    assert sorted(session.device_id for session in truth.sessions["fam"]) == ["ipad", "phone"]
    assert truth.by_type["fam"] == {"content.viewed": 2, "location.updated": 1}


def test_the_last_change_of_mind_stands_and_the_id_decides_a_tie():
    liked = event(2, 0, "content.liked", content_id="s")
    unliked = event(1, 0, "content.unliked", content_id="s")
    assert truth_of([liked, unliked]).contents["s"].likes == 1
    assert truth_of([liked, unliked | {"id": "3"}]).contents["s"].likes == 0


def test_one_id_at_two_times_is_two_events():
    assert truth_of([event(1, 0), event(1, 1), event(1, 1)]).events == 2


def test_the_third_unknown_fix_raises_and_the_next_known_one_resolves():
    walk = [
        fix(1, 0, 0),
        fix(2, 60, 400),
        fix(3, 120, 500),
        fix(4, 180, 600),
        fix(5, 240, 700),
        fix(6, 300, 0),
    ]
    at = START + timedelta(minutes=3)
    raised = Alert("kid", at, START + timedelta(minutes=5), 59.0 + 600 / 111_195, 18.0)
    assert alerts_of(walk, [HOME]) == {"fam": [raised]}


def test_two_fixes_raise_when_exactly_five_minutes_apart_and_not_a_millisecond_sooner():
    assert alerts_of([fix(1, 0, 400), fix(2, 299.999, 400)], [HOME]) == {}
    ((alert,),) = alerts_of([fix(1, 0, 400), fix(2, 300, 400)], [HOME]).values()
    assert alert.raised_at == START + timedelta(minutes=5)
    assert alert.resolved_at is None


def test_an_inaccurate_fix_decides_nothing_and_interrupts_nothing():
    walk = [fix(1, 0, 400), fix(2, 60, 9_000, accuracy=501), fix(3, 90, 0, accuracy=501), fix(4, 120, 400)]
    assert alerts_of(walk, [HOME]) == {}
    assert len(alerts_of([*walk, fix(5, 180, 400)], [HOME])["fam"]) == 1


def test_accuracy_counts_for_the_known_place_and_no_places_means_no_alerts():
    far = [fix(n, 60 * n, 150) for n in range(5)]
    near = [fix(n, 60 * n, 150, accuracy=60) for n in range(5)]
    assert len(alerts_of(far, [HOME])["fam"]) == 1
    assert alerts_of(near, [HOME]) == {}
    assert alerts_of(far, []) == {}
