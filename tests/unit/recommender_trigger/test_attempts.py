"""Attempts at a run: names, what follows on a failure, what was left behind."""

import pytest

from recommender_trigger.domain.attempts import Launched, attempt_name, failed, launched_of, orphans
from recommender_trigger.domain.failures import Cause, cause_of_cluster, cause_of_job_run
from recommender_trigger.domain.runs import Run, State, history_of, new_run_id

RUN_ID = new_run_id(1_763_000_000_000)


def _run(state: State = State.RUNNING, attempt: int = 1, handle: str | None = "j-1", **fields: object) -> Run:
    return Run("demo", RUN_ID, state, 1, attempt=attempt, handle=handle, **fields)


def _failed(run: Run, cause: Cause, place: str | None = None) -> Run:
    return failed(run, cause, "it broke", 9, max_attempts=3, log_uri="s3://log", place=place)


def test_name_of_an_attempt_says_which_it_is_and_whose():
    name = attempt_name("kin", _run(attempt=2))
    assert launched_of("kin", name, "j-1") == Launched(RUN_ID, 2, "j-1")
    assert launched_of("kinother", name, "j-1") is None


@pytest.mark.parametrize(
    "name", ["kin-training-nightly", "kin-training-", "nightly", "kin-training-x-training-1"]
)
def test_cluster_of_somebody_else_is_no_attempt(name: str):
    assert launched_of("kin", name, "j-1") is None


def test_machines_that_fail_are_asked_for_again_twice_elsewhere():
    second = _failed(_run(), Cause.MACHINES, "subnet-a")
    assert (second.state, second.attempt, second.handle) == (State.LAUNCHING, 2, None)
    third = _failed(second.advanced(State.RUNNING, handle="j-2"), Cause.MACHINES, "subnet-b")
    assert (third.attempt, third.avoid) == (3, ("subnet-a", "subnet-b"))
    end = _failed(third.advanced(State.RUNNING, handle="j-3"), Cause.MACHINES, "subnet-a")
    assert (end.state, end.cause, end.reason, end.log_uri) == (
        State.FAILED,
        Cause.MACHINES,
        "it broke",
        "s3://log",
    )


@pytest.mark.parametrize("cause", [cause for cause in Cause if cause is not Cause.MACHINES])
def test_any_other_failure_ends_the_run(cause: Cause):
    assert _failed(_run(), cause).state is State.FAILED


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("VALIDATION_ERROR", Cause.REFUSED),
        ("INSTANCE_FLEET_TIMEOUT", Cause.MACHINES),
        ("INSTANCE_FAILURE", Cause.MACHINES),
        ("INTERNAL_ERROR", Cause.MACHINES),
        ("STEP_FAILURE", Cause.JOB),
        ("BOOTSTRAP_FAILURE", Cause.JOB),
        ("USER_REQUEST", Cause.STOPPED),
        ("ALL_STEPS_COMPLETED", Cause.JOB),
        ("", Cause.JOB),
    ],
)
def test_cause_of_a_cluster_follows_from_its_code(code: str, cause: Cause):
    assert cause_of_cluster(code) is cause


@pytest.mark.parametrize(
    ("state", "details", "cause"),
    [
        ("FAILED", "Job failed, please check the logs. ExitCode: 1. Internal error in stage 4", Cause.JOB),
        ("FAILED", "Worker could not be allocated: insufficient capacity", Cause.MACHINES),
        ("CANCELLED", "by user", Cause.STOPPED),
        ("FAILED", "", Cause.JOB),
    ],
)
def test_cause_of_a_job_run_follows_from_its_words(state: str, details: str, cause: Cause):
    assert cause_of_job_run(state, details) is cause


@pytest.mark.parametrize(
    ("live", "left"),
    [
        ([], {"j-1", "j-2"}),
        ([_run()], {"j-2"}),
        ([_run(State.LAUNCHING, handle=None)], set()),
        ([_run(State.LAUNCHING, attempt=2, handle=None)], {"j-1", "j-2"}),
        ([_run(State.PUBLISHING)], {"j-2"}),
        ([_run(State.FAILED)], {"j-2"}),
    ],
    ids=[
        "no run",
        "launched twice",
        "about to be adopted",
        "of an earlier attempt",
        "publishing",
        "about to be ended",
    ],
)
def test_orphan_is_what_no_live_run_follows(live: list[Run], left: set[str]):
    found = orphans([Launched(RUN_ID, 1, "j-1"), Launched(RUN_ID, 1, "j-2")], live)
    assert {one.handle for one in found} == left


def test_what_a_person_must_mend_or_has_stopped_is_told_to_the_decision():
    assert history_of([_run(State.FAILED, cause=Cause.REFUSED)]).needs_person
    assert not history_of([_run(State.FAILED, cause=Cause.JOB)]).needs_person


def test_run_that_was_ended_by_the_switch_is_no_failure():
    history = history_of([_run(State.FAILED, cause=Cause.SWITCHED_OFF), _run(State.DONE)])
    assert (history.failures, history.launched_at_ms) == (0, 1)
