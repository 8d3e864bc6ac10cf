"""The generated world: the same from a seed, large enough, disordered as promised, within its days."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from kinstream_devkit.generate.world import generate
from kinstream_devkit.reference.alerts import alerts_of
from kinstream_devkit.reference.events import time_of, truth_of

NOW = datetime(2026, 11, 21, 0, 0, 7, tzinfo=UTC)


@pytest.fixture(scope="module")
def workload():
    return generate(7, 500, NOW)


def test_the_same_seed_gives_the_same_input_and_another_seed_another():
    assert generate(3, 20, NOW) == generate(3, 20, NOW)
    assert generate(3, 20, NOW) != generate(4, 20, NOW)


def test_five_hundred_customers_make_twenty_thousand_distinct_events(workload):
    truth = truth_of(workload.accepted)
    assert truth.events >= 20_000
    assert len(truth.by_type) >= 500
    assert len(workload.accepted) == truth.events + workload.duplicates


def test_a_repeated_event_is_the_same_and_never_in_the_same_fifty(workload):
    places: dict[int, list[int]] = {}
    for index, delivery in enumerate(workload.deliveries):
        places.setdefault(id(delivery.event), []).append(index)
    repeated = [indexes for indexes in places.values() if len(indexes) > 1]
    assert len(repeated) == workload.duplicates
    assert all(second - first >= 50 for first, second in repeated)


def test_every_accepted_event_lies_in_the_last_eleven_days(workload):
    times = [time_of(event) for event in workload.accepted]
    assert NOW - timedelta(days=11) < min(times)
    assert max(times) < NOW


def test_events_arrive_late_and_out_of_order(workload):
    latest, late = NOW - timedelta(days=99), 0
    for event in workload.accepted:
        late += time_of(event) < latest - timedelta(hours=12)
        latest = max(latest, time_of(event))
    assert late > 0.05 * len(workload.accepted)


def test_some_walks_raise_alerts_and_some_do_not(workload):
    alerts = alerts_of(workload.accepted, workload.places)
    walkers = {place.customer_id for place in workload.places}
    assert Counter(len(alerts.get(family, [])) for family in walkers) == {0: 8, 1: 6, 2: 2}
    assert any(alert.resolved_at is None for raised in alerts.values() for alert in raised)


def test_flawed_events_say_what_is_wrong(workload):
    flaws = [delivery.flaw for delivery in workload.deliveries if delivery.flaw]
    assert {"no id", "an unknown field", "two days ahead"} < set(flaws)
