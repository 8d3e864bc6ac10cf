"""When a run is launched, for any situation."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from recommender_trigger.domain.trigger import (
    ArchiveCounts,
    Decision,
    History,
    Policy,
    Situation,
    backoff_ms,
    decide,
)

NOW = 1_000_000
times = st.integers(0, NOW)
small = st.integers(0, 6)
policies = st.builds(
    Policy,
    min_due_customers=st.integers(1, 6),
    max_wait_ms=times,
    settle_ms=times,
    min_interval_ms=times,
    backoff_ms=st.integers(1, NOW),
    max_backoff_ms=times,
    min_archived_events=small,
    min_archived_customers=small,
    is_enabled=st.sampled_from([True, True, True, False]),
)
situations = st.builds(
    Situation,
    due_at_ms=st.lists(times, max_size=8),
    lease_until_ms=st.none() | st.integers(0, 2 * NOW),
    history=st.builds(
        History,
        launched_at_ms=st.none() | times,
        ended_at_ms=st.none() | times,
        failures=st.integers(0, 40),
        needs_person=st.booleans(),
    ),
    archive=st.none() | st.builds(ArchiveCounts, events=small, customers=small),
    is_requested=st.sampled_from([True, False, False, False]),
)


def _reference(situation: Situation, policy: Policy) -> bool:
    """Launch or not, as one plain sentence after the other."""
    settled = [due for due in situation.due_at_ms if NOW - due >= policy.settle_ms]
    history, archive = situation.history, situation.archive
    is_free = situation.lease_until_ms is None or situation.lease_until_ms <= NOW
    is_enough = len(settled) >= policy.min_due_customers
    is_overdue = any(NOW - due >= policy.max_wait_ms for due in settled)
    if history.failures and history.needs_person:
        is_time = history.ended_at_ms is None or NOW - history.ended_at_ms >= policy.max_backoff_ms
    elif history.failures:
        is_time = history.ended_at_ms is None or NOW - history.ended_at_ms >= backoff_ms(
            history.failures, policy
        )
    else:
        is_time = history.launched_at_ms is None or NOW - history.launched_at_ms >= policy.min_interval_ms
    is_known = (
        archive is not None
        and archive.events >= policy.min_archived_events
        and archive.customers >= policy.min_archived_customers
    )
    is_worth_it = bool(settled and (is_enough or is_overdue) and is_time and is_known)
    return policy.is_enabled and is_free and (situation.is_requested or is_worth_it)


@given(situations, policies)
def test_a_run_is_launched_exactly_when_every_condition_holds(situation: Situation, policy: Policy):
    assert (decide(situation, policy, NOW) is Decision.LAUNCH) == _reference(situation, policy)


@given(situations, policies)
def test_the_archive_is_counted_only_when_all_else_speaks_for_a_run(situation: Situation, policy: Policy):
    uncounted = decide(replace(situation, archive=None), policy, NOW)
    plenty = decide(replace(situation, archive=ArchiveCounts(9, 9)), policy, NOW)
    if situation.is_requested:
        assert uncounted is plenty is not Decision.COUNT_ARCHIVE
    else:
        assert (uncounted is Decision.COUNT_ARCHIVE) == (plenty is Decision.LAUNCH)
        assert uncounted is not Decision.LAUNCH


@given(situations, policies, times)
def test_one_more_customer_who_is_due_never_stops_a_launch(
    situation: Situation, policy: Policy, due_at_ms: int
):
    more = replace(situation, due_at_ms=[*situation.due_at_ms, due_at_ms])
    if decide(situation, policy, NOW) is Decision.LAUNCH:
        assert decide(more, policy, NOW) is Decision.LAUNCH


@given(policies, st.integers(0, 2000))
def test_backoff_grows_with_failures_up_to_its_bound(policy: Policy, failures: int):
    this, following = backoff_ms(failures, policy), backoff_ms(failures + 1, policy)
    assert this <= following <= max(policy.max_backoff_ms, 0)
