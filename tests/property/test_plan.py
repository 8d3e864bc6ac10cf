"""The simulation of `kinstream plan`, against what must hold of any queue and against sums done by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kinstream_devkit.plan.domain.deployment import Api, Consumer, Deployment
from kinstream_devkit.plan.domain.fleet import Delays, Fleet, Limits
from kinstream_devkit.plan.domain.simulation import Before, Trace, after, peaks_of, simulate
from kinstream_devkit.plan.domain.tables import GROWTH

STEP_SECONDS = 5.0
CHUNK = 10
DELAYS = Delays(
    period_seconds=60,
    metric_delay_seconds=60,
    out_periods=3,
    in_periods=15,
    in_below=0.9,
    task_start_seconds=45,
    in_share=0.5,
)
PLENTY = Api(events_a_second=1e9, cpu_target=0.5, limits=Limits(1, 1, 30, 300))


def consumer(rate: float = 5, least: int = 1, most: int = 1, units: float = 0, name: str = "one") -> Consumer:
    """A processor of which a task works off `rate` messages a second, at so many write units each."""
    return Consumer(
        name=name,
        messages_a_chunk=1,
        events_a_message=CHUNK,
        messages_a_second=rate,
        group_seconds=0.1,
        groups_at_once=2,
        messages_a_group=10,
        backlog_per_task=600,
        limits=Limits(least, most, 30, 300),
        write_units={"table": units},
        read_units={},
        hot_keys=(),
        files_an_hour_a_task=0,
    )


def deployed(*consumers: Consumer, api: Api = PLENTY) -> Deployment:
    return Deployment(CHUNK, api, consumers, DELAYS, spot_share=0.5)


def messages(per_second: list[float]) -> np.ndarray:
    """Events a second that come to so many messages a second, a minute each."""
    return np.repeat(np.array(per_second, dtype=float) * CHUNK, round(60 / STEP_SECONDS))


minutes = st.lists(st.floats(0, 100), min_size=1, max_size=60)
limits = st.integers(0, 3).flatmap(lambda least: st.tuples(st.just(least), st.integers(max(least, 1), 12)))


@settings(deadline=None, max_examples=60)
@given(minutes, st.floats(0.1, 50), limits, st.floats(0, 3_000))
def test_nothing_is_lost_or_made_up_and_tasks_stay_within_their_limits(per_second, rate, tasks, units):
    least, most = tasks
    api = Api(events_a_second=300, cpu_target=0.5, limits=Limits(1, 3, 30, 300))
    one, other = consumer(rate, least, most, units), consumer(rate / 2, least, most, units, name="two")
    day = simulate(messages(per_second), STEP_SECONDS, deployed(one, other, api=api))
    for trace in day.traces.values():
        waits = np.cumsum(trace.came) - np.cumsum(trace.done)
        assert trace.backlog == pytest.approx(waits, abs=1e-6 * (1 + trace.came.sum()))
        assert min(trace.backlog.min(), trace.done.min(), trace.refused.min()) >= -1e-9
        assert np.all(trace.running <= trace.ordered)
    for name in ("one", "two"):
        assert least <= day.traces[name].ordered.min() <= day.traces[name].ordered.max() <= most
        assert np.all(day.traces[name].done <= day.traces[name].running * rate * STEP_SECONDS + 1e-9)
    assert np.all(day.loads["table"] <= day.capacities["table"] * (1 + 1e-9))
    fanned_out = day.traces["ingest-api"].done / CHUNK
    assert day.traces["one"].came == pytest.approx(fanned_out)
    assert day.traces["two"].came == pytest.approx(fanned_out)


@settings(deadline=None, max_examples=40)
@given(minutes, st.floats(0.1, 50), st.floats(1, 5))
def test_faster_tasks_never_make_a_longer_queue(per_second, rate, times):
    slow, fast = (
        simulate(messages(per_second), STEP_SECONDS, deployed(consumer(r, 2, 2))).traces["one"]
        for r in (rate, rate * times)
    )
    slack = 1e-6 * (1 + slow.came.sum())
    assert np.all(fast.backlog <= slow.backlog + slack)
    assert np.all(fast.oldest_seconds(STEP_SECONDS) <= slow.oldest_seconds(STEP_SECONDS) + STEP_SECONDS)


@settings(deadline=None, max_examples=40)
@given(minutes, st.floats(0.1, 50))
def test_oldest_message_is_as_old_as_first_come_first_served_makes_it(per_second, rate):
    trace = simulate(messages(per_second), STEP_SECONDS, deployed(consumer(rate))).traces["one"]
    ages = trace.oldest_seconds(STEP_SECONDS)
    came, done = np.cumsum(trace.came), np.cumsum(trace.done)
    slack = 1e-6 * (1 + came[-1])
    for step in range(len(ages)):
        if ages[step] == 0:
            assert trace.backlog[step] <= slack
            continue
        # All that came before it is done, and not all that came with it or since.
        since = step + 1 - ages[step] / STEP_SECONDS
        earlier = came[math.floor(since) - 1] if since >= 1 else 0.0
        later = came[min(step, math.ceil(since - 1e-9) - 1 if since > 0 else 0)]
        assert earlier - slack <= done[step] <= later + slack


@settings(deadline=None, max_examples=60)
@given(st.floats(0.1, 100), st.floats(0.1, 100), st.integers(1, 40))
def test_constant_rates_come_to_the_closed_form(arriving, rate, whole_minutes):
    trace = simulate(messages([arriving] * whole_minutes), STEP_SECONDS, deployed(consumer(rate))).traces[
        "one"
    ]
    ends = np.arange(1, len(trace.came) + 1) * STEP_SECONDS
    backlog = np.maximum(0, arriving - rate) * ends
    assert trace.backlog == pytest.approx(backlog, rel=1e-6, abs=1e-6 * arriving * ends[-1])
    if arriving > rate * 1.001:
        assert trace.oldest_seconds(STEP_SECONDS) == pytest.approx(ends * (1 - rate / arriving), rel=1e-3)


def test_what_comes_after_an_idle_hour_is_not_an_hour_old():
    trace = Trace.of(722)
    trace.came[0] = trace.came[-1] = 10
    # What was done is not to the last digit what had come.
    trace.done[0] = 10 - 1e-12
    trace.backlog[-1] = 10
    assert trace.oldest_seconds(STEP_SECONDS)[-1] == pytest.approx(STEP_SECONDS)


def test_tasks_are_added_after_three_bad_minutes_the_metrics_delay_and_their_start():
    day = simulate(messages([100] * 30), STEP_SECONDS, deployed(consumer(10, 1, 60)))
    trace = day.traces["one"]
    # 90 messages a second pile up, above 600 in every minute. The third is seen at the end of the fourth.
    ordered_at = float(np.argmax(trace.ordered > 1)) * STEP_SECONDS
    working_at = float(np.argmax(trace.running > 1)) * STEP_SECONDS
    assert (ordered_at, working_at) == (240, 285)
    # In the third minute there are 90 * (120 + 2.5 to 180) messages, for 600 of which a task is wanted.
    third_minute = [90 * second for second in np.arange(125, 181, STEP_SECONDS)]
    assert trace.ordered[48] == math.ceil(sum(third_minute) / len(third_minute) / 600)


def test_tasks_leave_after_a_quiet_quarter_of_an_hour_by_halves_until_the_fewest():
    day = simulate(messages([100] * 8 + [0] * 120), STEP_SECONDS, deployed(consumer(10, 2, 60)))
    ordered = day.traces["one"].ordered
    falls = np.flatnonzero(np.diff(ordered) < 0) + 1
    assert len(falls) > 2
    assert ordered[-1] == 2
    assert np.all(ordered[falls] >= ordered[falls - 1] / 2)
    assert np.all(np.diff(falls) * STEP_SECONDS >= 300)


def test_the_next_day_begins_with_the_tasks_and_the_tables_of_the_day_before():
    one = deployed(consumer(10, 2, 60, units=30))
    day = simulate(messages([100] * 30), STEP_SECONDS, one)
    next_day = simulate(messages([100] * 30), STEP_SECONDS, one, after(day))
    assert next_day.traces["one"].ordered[0] == day.traces["one"].ordered[-1] > 2
    assert next_day.capacities["table"][0] == pytest.approx(GROWTH * peaks_of(day)["table"])


def scaled(loads: list[float], tasks: int, delays: Delays = DELAYS) -> Fleet:
    """A fleet of 1 to 60 that has seen a load a minute."""
    fleet = Fleet(Limits(1, 60, 30, 300), delays, tasks)
    for minute, load in enumerate(loads, 1):
        fleet.report(minute * 60, load)
        fleet.advance(minute * 60 + 60)
    return fleet


@pytest.mark.parametrize(("share", "kept"), [(1.0, 40), (0.95, 40), (0.85, 34), (0.2, 20)])
def test_tasks_leave_where_the_metric_is_a_tenth_below_its_target(share, kept):
    assert scaled([40 * share] * 15, tasks=40).ordered == kept
    assert scaled([40 * share] * 14, tasks=40).ordered == 40


def test_tasks_that_leave_are_first_those_that_have_not_begun():
    slow = replace(DELAYS, task_start_seconds=3_000, in_periods=3)
    fleet = scaled([9, 9, 9, 0.1, 0.1, 0.1], tasks=2, delays=slow)
    assert (fleet.running, fleet.ordered) == (2, 5)
    fleet.advance(1e6)
    assert (fleet.running, fleet.ordered) == (5, 5)


def test_a_service_without_tasks_is_woken_by_its_first_message_and_sleeps_again():
    per_second = [0, 1, 1, 1, 1, 1, 1, *[0] * 30]
    trace = simulate(messages(per_second), STEP_SECONDS, deployed(consumer(10, 0, 5))).traces["one"]
    assert trace.ordered.max() == 1
    # The second minute's figure is seen at 180 s, and the task takes 45 s.
    assert float(np.argmax(trace.running > 0)) * STEP_SECONDS == 225
    assert (trace.backlog[-1], trace.ordered[-1]) == (0, 0)


def test_a_new_table_takes_four_partitions_and_twice_that_half_an_hour_later():
    heavy = deployed(consumer(100, 1, 1, units=100))
    day = simulate(messages([100] * 90), STEP_SECONDS, heavy)
    capacity, load = day.capacities["table"], day.loads["table"]
    assert capacity[0] == 4
    assert load[0] == pytest.approx(4)
    grown = np.flatnonzero(np.diff(capacity) > 0) + 1
    assert capacity[grown[0]] == pytest.approx(4 * GROWTH)
    # The first minute's load counts when it is half an hour old.
    assert grown[0] * STEP_SECONDS == 60 + 1_800
    assert day.traces["one"].refused[0] == pytest.approx((100 - 40) * STEP_SECONDS)


def test_a_table_that_knows_the_load_refuses_nothing():
    heavy = deployed(consumer(100, 1, 1, units=100))
    day = simulate(messages([70] * 90), STEP_SECONDS, heavy, Before(peaks={"table": 3.5}))
    assert day.traces["one"].refused.max() == 0
    assert peaks_of(day)["table"] == pytest.approx(7)


def test_who_needs_the_full_table_waits_and_who_does_not_goes_on():
    greedy = consumer(100, 1, 1, units=100, name="greedy")
    modest = replace(consumer(100, 1, 1, name="modest"), write_units={"other": 1})
    day = simulate(messages([100] * 5), STEP_SECONDS, deployed(greedy, modest))
    assert day.traces["greedy"].backlog[-1] > 0
    assert day.traces["modest"].backlog[-1] == 0


def test_what_ingest_cannot_take_waits_at_the_senders_and_comes_later():
    api = Api(events_a_second=50 * CHUNK, cpu_target=0.5, limits=Limits(1, 1, 30, 300))
    day = simulate(messages([100] * 2 + [0] * 3), STEP_SECONDS, deployed(consumer(1_000), api=api))
    at_senders = day.traces["ingest-api"].backlog
    assert at_senders.max() == pytest.approx(50 * CHUNK * 120)
    assert at_senders[-1] == 0
    assert day.traces["one"].done.sum() == pytest.approx(100 * 120)
