"""The session view against a definition written as plainly as it can be."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from kinstream.views.sessions import (
    GAP_MS,
    IDLE_CAP_MS,
    MAX_SESSION_MS,
    Moment,
    session_id,
    sessions_of,
)

gaps = st.one_of(
    st.integers(0, 10 * 60_000), st.sampled_from([GAP_MS - 1, GAP_MS, GAP_MS + 1]), st.integers(0, 4 * GAP_MS)
)
steps = st.lists(st.tuples(gaps, st.sampled_from(["read", "watch", "sing"]), st.sampled_from(["", "a", "b"])))


def moments_of(rows) -> list[Moment]:
    now_ms, moments = 0, []
    for gap_ms, activity, content_id in rows:
        now_ms += gap_ms
        moments.append(Moment(now_ms, activity, content_id))
    return sorted(moments)


@given(steps)
def test_every_moment_is_in_exactly_one_session(rows):
    moments = moments_of(rows)
    sessions = list(sessions_of(moments))
    assert sum(session.event_count for session in sessions) == len(moments)
    assert all(one.ended_ms < other.started_ms for one, other in pairwise(sessions))


@given(steps)
def test_sessions_are_split_exactly_where_the_gap_is_greater(rows):
    moments = moments_of(rows)
    starts = {session.started_ms for session in sessions_of(moments)}
    for one, other in pairwise(moments):
        if other.time_ms - one.time_ms > GAP_MS:
            assert other.time_ms in starts
    for session in sessions_of(moments):
        assert session.ended_ms - session.started_ms <= MAX_SESSION_MS


@given(steps)
def test_engaged_time_is_the_time_between_events_with_idle_capped(rows):
    for session in sessions_of(moments_of(rows)):
        inside = [m for m in moments_of(rows) if session.started_ms <= m.time_ms <= session.ended_ms]
        expected = sum(min(b.time_ms - a.time_ms, IDLE_CAP_MS) for a, b in pairwise(inside))
        assert session.engaged_ms == expected


def test_gap_of_exactly_thirty_minutes_joins_and_one_millisecond_more_splits():
    joined = [Moment(0, "a", ""), Moment(GAP_MS, "a", "")]
    assert len(list(sessions_of(joined))) == 1
    assert len(list(sessions_of([joined[0], Moment(GAP_MS + 1, "a", "")]))) == 2


def test_session_is_cut_after_twenty_four_hours():
    moments = [Moment(minute * 60_000, "a", "") for minute in range(0, 25 * 60, 20)]
    first, second = sessions_of(moments)
    assert first.ended_ms == MAX_SESSION_MS
    assert second.started_ms == MAX_SESSION_MS + 20 * 60_000


def test_activities_come_by_engaged_time_then_events_then_name():
    moments = [
        Moment(0, "quick", "c2"),
        Moment(1_000, "long", "c1"),
        Moment(200_000, "b", "c2"),
        Moment(200_000, "c", ""),
    ]
    (session,) = sessions_of(moments)
    assert [name for name, _ in session.by_priority()] == ["long", "quick", "b", "c"]
    assert list(session.content_ids) == ["c2", "c1"]


def test_session_is_named_by_whose_it_is_and_when_it_began():
    assert session_id("app", "fam", "ipad", 5) == session_id("app", "fam", "ipad", 5)
    assert len({session_id(*names, 5) for names in (("a", "b", "c"), ("a", "bc", ""), ("ab", "", "c"))}) == 3
