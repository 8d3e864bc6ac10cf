"""An app over time: whoever is due is trained for in the end, and never too soon, too often or twice."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.runs import Run, State, history_of
from recommender_trigger.domain.trigger import (
    ArchiveCounts,
    Decision,
    Policy,
    Situation,
    backoff_ms,
    decide,
    is_settled,
)

CUSTOMERS = st.sampled_from("abcdef")
SOME_TIME = st.integers(0, 400)
POLICIES = st.builds(
    Policy,
    min_due_customers=st.integers(1, 4),
    max_wait_ms=st.integers(0, 500),
    settle_ms=st.integers(0, 50),
    min_interval_ms=st.integers(0, 300),
    backoff_ms=st.integers(1, 100),
    max_backoff_ms=st.integers(1, 1000),
    min_archived_events=st.just(10),
    min_archived_customers=st.just(2),
)


class Story(RuleBasedStateMachine):
    """The world around the decision: the due index, the lock, the runs so far, the archive, an operator."""

    @initialize(policy=POLICIES)
    def begin(self, policy: Policy) -> None:
        self.policy = policy
        self.now_ms = 1_000
        self.due: dict[str, int] = {}
        self.runs: list[Run] = []
        self.lease_until_ms: int | None = None
        self.taken: set[str] = set()
        self.is_requested = False
        self.archive = ArchiveCounts(0, 0)

    @rule(customer=CUSTOMERS)
    def customer_becomes_due(self, customer: str) -> None:
        self.due.setdefault(customer, self.now_ms)

    @rule(passed_ms=SOME_TIME)
    def time_passes(self, passed_ms: int) -> None:
        self.now_ms += passed_ms
        if self.lease_until_ms is not None:  # whoever follows the run renews its lease
            self.lease_until_ms = self.now_ms + 30

    @rule(events=st.integers(0, 20), customers=st.integers(0, 4))
    def archive_grows(self, events: int, customers: int) -> None:
        self.archive = ArchiveCounts(self.archive.events + events, self.archive.customers + customers)

    @rule()
    def operator_asks(self) -> None:
        self.is_requested = True

    @rule(enabled=st.booleans())
    def operator_turns_the_switch(self, enabled: bool) -> None:
        self.policy = replace(self.policy, is_enabled=enabled)

    @rule()
    def trigger_ticks(self) -> None:
        if self._decision() is Decision.LAUNCH:
            self._check_launch()
            self.taken = {who for who, at in self.due.items() if is_settled(at, self.policy, self.now_ms)}
            self.runs.insert(0, Run("demo", f"r{len(self.runs)}", State.RUNNING, self.now_ms))
            self.lease_until_ms = self.now_ms + 30
            self.is_requested = False

    @precondition(lambda self: self.lease_until_ms is not None)
    @rule()
    def run_ends_well(self) -> None:
        self._end(State.DONE, None)
        for customer in self.taken:
            self.due.pop(customer, None)

    @precondition(lambda self: self.lease_until_ms is not None)
    @rule(cause=st.sampled_from(Cause))
    def run_fails(self, cause: Cause) -> None:
        self._end(State.FAILED, cause)

    @invariant()
    def one_run_is_under_way_at_most(self) -> None:
        assert sum(run.state is State.RUNNING for run in getattr(self, "runs", [])) <= 1

    def teardown(self) -> None:
        """Nobody is forgotten: with all in order, time alone brings the run that they wait for."""
        if not getattr(self, "due", None):
            return
        if self.lease_until_ms is not None:
            self._end(State.FAILED, Cause.JOB)
        self.policy, self.archive = replace(self.policy, is_enabled=True), ArchiveCounts(10, 2)
        policy = self.policy
        waits_ms = (policy.max_wait_ms, policy.settle_ms, policy.min_interval_ms, policy.max_backoff_ms)
        self.now_ms += max(waits_ms)
        assert self._decision() is Decision.LAUNCH

    def _decision(self) -> Decision:
        situation = Situation(
            list(self.due.values()),
            self.lease_until_ms,
            history_of(self.runs),
            self.archive,
            self.is_requested,
        )
        return decide(situation, self.policy, self.now_ms)

    def _end(self, state: State, cause: Cause | None) -> None:
        self.runs[0] = self.runs[0].advanced(state, cause=cause, ended_at_ms=self.now_ms)
        self.lease_until_ms = None

    def _check_launch(self) -> None:
        assert self.policy.is_enabled
        assert self.lease_until_ms is None
        if self.is_requested:
            return
        settled = [at for at in self.due.values() if self.now_ms - at >= self.policy.settle_ms]
        assert settled
        assert len(settled) >= self.policy.min_due_customers or (
            self.now_ms - min(settled) >= self.policy.max_wait_ms
        )
        counted = [run for run in self.runs if run.cause is not Cause.SWITCHED_OFF]
        if counted and counted[0].state is State.DONE:
            assert self.now_ms - counted[0].launched_at_ms >= self.policy.min_interval_ms
        elif counted:
            assert counted[0].ended_at_ms is not None
            least_ms = backoff_ms(1, self.policy)
            if counted[0].cause in (Cause.REFUSED, Cause.STOPPED):
                least_ms = self.policy.max_backoff_ms
            assert self.now_ms - counted[0].ended_at_ms >= least_ms


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
