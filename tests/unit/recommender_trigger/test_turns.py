"""Whose turn it is where machines are for one app at a time."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from recommender_trigger.domain.trigger import in_turn

TIMES = st.dictionaries(st.sampled_from("abcde"), st.integers(0, 9))


@given(lengths=st.dictionaries(st.sampled_from("abcd"), st.integers(1, 5), min_size=2))
def test_no_app_starves_beside_busy_ones(lengths: dict[str, int]):
    """Everybody is due again as soon as a run has begun; some apps' runs take longer."""
    due, now, runs = dict.fromkeys(lengths, 0), 0, Counter[str]()
    for _ in range(6 * len(lengths)):
        app = in_turn(lengths, {}, due)[0]
        runs[app] += 1
        due[app] = now
        now += lengths[app]
    assert set(runs) == set(lengths)
    assert max(runs.values()) - min(runs.values()) <= 2


@given(requested=TIMES, due=TIMES)
def test_those_asked_for_come_first_then_those_who_wait_longest(
    requested: dict[str, int], due: dict[str, int]
):
    order = in_turn("abcde", requested, due)
    assert sorted(order) == list("abcde")
    assert [app for app in order if app in requested] == order[: len(requested)]
    waiting = [due.get(app, 10) for app in order[len(requested) :]]
    assert waiting == sorted(waiting)
