"""The arithmetic of loads: due times, percentiles, growth of memory."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.schedule import Schedule, growth_bytes, percentile

SCHEDULES = st.builds(Schedule, st.floats(0.01, 1e6), st.integers(1, 10_000))


def test_requests_are_due_at_even_distances_from_the_start_on():
    schedule = Schedule(per_second=4, count=3)
    assert [schedule.due_seconds(number) for number in range(3)] == [0, 0.25, 0.5]
    assert [schedule.due_by(seconds) for seconds in (-0.1, 0, 0.2, 0.25, 0.5, 60)] == [0, 1, 1, 2, 3, 3]


@given(SCHEDULES, st.integers(0, 9_999))
@example(Schedule(3.0, 10), 9)
@example(Schedule(0.1, 4), 3)
def test_a_request_is_due_at_its_own_time_and_not_before(schedule, number):
    at = schedule.due_seconds(number)
    assert schedule.due_by(at) == min(schedule.count, number + 1)
    before = at - 0.01 / schedule.per_second
    assert schedule.due_by(before) == min(schedule.count, number)


@pytest.mark.parametrize(("per_second", "count"), [(0, 1), (-1, 1), (1, 0)])
def test_a_schedule_without_a_pace_or_a_request_is_refused(per_second, count):
    with pytest.raises(ValueError, match="a load has a pace"):
        Schedule(per_second, count)


def test_a_percentile_is_one_of_the_values_at_its_rank():
    delays = list(range(1, 201))
    assert [percentile(delays, share) for share in (0.005, 0.5, 0.99, 1)] == [1, 100, 198, 200]
    assert percentile([7.0], 0.99) == 7.0


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300), st.sampled_from([0.01, 0.5, 0.9, 0.99, 1]))
def test_at_least_its_share_of_the_values_is_no_greater_and_less_would_not_do(values, share):
    found = percentile(values, share)
    need = math.ceil(round(share * len(values), 9))
    assert sum(value <= found for value in values) >= need
    assert sum(value < found for value in values) < need


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1.0], 0), ([1.0], 1.1)])
def test_a_percentile_of_nothing_or_of_no_share_is_refused(values, share):
    with pytest.raises(ValueError, match="a percentile is of some values"):
        percentile(values, share)


def test_growth_is_from_the_settling_to_the_highest_point_after_it():
    samples = [(0, 50), (30, 400), (60, 200), (90, 260), (120, 190)]
    assert growth_bytes(samples, 60) == 60
    assert growth_bytes([(60, 200), (90, 150)], 60) == 0


def test_growth_cannot_be_told_from_one_sample():
    with pytest.raises(ValueError, match="two samples"):
        growth_bytes([(0, 50), (60, 200)], 60)
