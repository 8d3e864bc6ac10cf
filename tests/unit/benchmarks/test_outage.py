"""What the demonstration of backpressure claims: each claim fails where its numbers do not hold."""

from dataclasses import replace

import pytest

from benchmarks.outage import Outage, overdue_until, verdicts

GOOD = Outage(
    events=100,
    acknowledged=100,
    arrived=100,
    copies=5,
    refusals=7,
    refusals_with_retry_after=7,
    mended=40.0,
    last_trouble=43.0,
    overdue_until=44.5,
)
TOLD, KEPT, RECOVERED = range(3)


def test_an_outage_that_was_borne_well_fulfils_every_claim():
    assert all(verdict.holds for verdict in verdicts(GOOD))
    assert verdicts(GOOD)[RECOVERED].counted == "4.5 s after SNS came back"


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"refusals_with_retry_after": 6}, {TOLD}),
        ({"refusals": 0, "refusals_with_retry_after": 0}, {TOLD}),
        ({"arrived": 99}, {KEPT}),
        ({"acknowledged": 99}, {KEPT, RECOVERED}),
        ({"last_trouble": 50.5}, {RECOVERED}),
        ({"overdue_until": 50.5}, {RECOVERED}),
    ],
)
def test_a_claim_fails_where_its_numbers_do_not_hold(change, broken):
    found = verdicts(replace(GOOD, **change))
    assert {number for number, verdict in enumerate(found) if not verdict.holds} == broken


def test_trouble_before_the_mending_is_no_slow_recovery():
    assert replace(GOOD, last_trouble=12.0, overdue_until=40.0).recovery_seconds == 0


def test_only_requests_that_were_due_before_the_mending_are_overdue():
    due = {0: 1.0, 1: 9.0, 2: 10.5, 3: 9.5}
    delays = {0: 0.1, 1: 4.0, 2: 90.0}
    assert overdue_until(due, delays, mended=10.0) == 13.0
    assert overdue_until({0: 1.0}, {0: 0.1}, mended=10.0) == 10.0
