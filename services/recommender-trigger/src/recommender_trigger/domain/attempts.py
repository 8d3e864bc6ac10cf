"""Attempts at a run: their names, what follows on a failure, and which were left behind. Pure.

A run may ask for machines more than once; each attempt has a name of its own, by which any trigger finds what
was launched for it.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.runs import Run, State

_RUN_AND_ATTEMPT = re.compile(r"(\d{8}T\d{9}Z-[0-9a-f]{8})-(\d{1,3})")


@dataclass(frozen=True, slots=True)
class Launched:
    """Something that holds machines: a cluster, a job run."""

    run_id: str
    attempt: int
    handle: str


def attempt_name(prefix: str, run: Run) -> str:
    """What the run's present attempt is called."""
    return f"{name_prefix(prefix)}{run.run_id}-{run.attempt}"


def name_prefix(prefix: str) -> str:
    """How the names of all attempts of a deployment begin."""
    return f"{prefix}-training-"


def launched_of(prefix: str, name: str, handle: str) -> Launched | None:
    """What a name says; None where it is no attempt of this deployment."""
    if not name.startswith(name_prefix(prefix)):
        return None
    match = _RUN_AND_ATTEMPT.fullmatch(name.removeprefix(name_prefix(prefix)))
    return Launched(match[1], int(match[2]), handle) if match else None


def failed(
    run: Run,
    cause: Cause,
    reason: str,
    now_ms: int,
    *,
    max_attempts: int,
    log_uri: str | None = None,
    place: str | None = None,
) -> Run:
    """The run after a failure: one attempt further, where other machines may do; else at its end."""
    told = {"cause": cause, "reason": reason, "log_uri": log_uri or run.log_uri}
    if cause is not Cause.MACHINES or run.attempt >= max_attempts:
        return run.advanced(State.FAILED, ended_at_ms=now_ms, **told)
    avoid = (*run.avoid, place) if place and place not in run.avoid else run.avoid
    return run.advanced(State.LAUNCHING, attempt=run.attempt + 1, handle=None, avoid=avoid, **told)


def orphans(launched: Iterable[Launched], live: Sequence[Run]) -> list[Launched]:
    """What nobody follows: of no live run, of an earlier attempt, or launched twice.

    `launched` must have been listed before the live runs were read: a run is recorded before it launches.
    What a live run names is left to its follower, which ends it when that is due.
    """
    waiting = {(run.run_id, run.attempt) for run in live if run.state is State.LAUNCHING}
    followed = {run.handle for run in live}
    return [
        one for one in launched if one.handle not in followed and (one.run_id, one.attempt) not in waiting
    ]
