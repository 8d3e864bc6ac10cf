"""Run ids and what the decision learns of the runs so far."""

from recommender_trigger.domain.runs import Run, State, history_of, new_run_id


def _run(state: State, launched_at_ms: int = 1) -> Run:
    return Run("demo", f"r{launched_at_ms}", state, launched_at_ms, launched_at_ms + 1)


def test_a_later_run_has_a_greater_id():
    assert new_run_id(1_763_000_000_000) < new_run_id(1_763_000_000_001) < new_run_id(1_763_000_060_000)


def test_failures_count_back_to_the_last_run_that_did_not_fail():
    newest_first = [_run(State.FAILED, 4), _run(State.FAILED, 3), _run(State.DONE, 2), _run(State.FAILED, 1)]
    history = history_of(newest_first)
    assert (history.failures, history.launched_at_ms, history.ended_at_ms) == (2, 4, 5)


def test_an_app_without_runs_has_no_history():
    assert history_of([]).launched_at_ms is None
