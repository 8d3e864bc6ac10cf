"""What a run is and which way it goes: launching, running, publishing, done or failed."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from kinstream.versions import run_folder
from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.trigger import History


class State(StrEnum):
    """Each begins when what came before it is safely done, so that any trigger can carry on from it."""

    LAUNCHING = "launching"
    RUNNING = "running"
    PUBLISHING = "publishing"
    DONE = "done"
    FAILED = "failed"

    @property
    def is_end(self) -> bool:
        """Nothing but the release of the lock is left."""
        return self in (State.DONE, State.FAILED)


@dataclass(frozen=True, slots=True)
class Usage:
    """What machines were billed for, in hours of a virtual CPU and of a gigabyte."""

    vcpu_hours: float
    memory_gb_hours: float
    storage_gb_hours: float
    """Beyond what comes with a worker."""

    def plus(self, more: "Usage") -> "Usage":
        """Both together."""
        return Usage(
            self.vcpu_hours + more.vcpu_hours,
            self.memory_gb_hours + more.memory_gb_hours,
            self.storage_gb_hours + more.storage_gb_hours,
        )


@dataclass(frozen=True, slots=True)
class Run:
    """One training of an app. Times in milliseconds since 1970."""

    app: str
    run_id: str
    state: State
    launched_at_ms: int
    ended_at_ms: int | None = None
    launcher: str = ""
    handle: str | None = None
    """The launcher's own name for what it launched."""
    customers_due: int = 0
    incumbent: str | None = None
    """Recipe of what is served at launch: the new model is judged against it too."""
    attempt: int = 1
    """How many times machines were asked for; one that fails for want of them is tried again."""
    avoid: tuple[str, ...] = ()
    """Where earlier attempts found no working machines: subnets."""
    published: bool | None = None
    reason: str = ""
    """Why it failed, or what the gate said; of a run under way, why its last attempt failed."""
    cause: Cause | None = None
    """The kind of a failure."""
    log_uri: str | None = None
    """Where the job's log lies, or what there is of it."""
    usage: Usage | None = None
    """What its attempts have used, as far as the launcher has told."""
    usd: float | None = None
    """About what it cost, by list prices, once it has ended; None where nobody knows."""

    def advanced(self, state: State, **fields: object) -> "Run":
        """The run in a later state."""
        return replace(self, state=state, **fields)  # type: ignore[arg-type]

    def used(self, usage: Usage | None) -> "Run":
        """The run with what an attempt has used beside what those before it have."""
        if usage is None:
            return self
        return replace(self, usage=self.usage.plus(usage) if self.usage else usage)

    @property
    def folder(self) -> str:
        """Where its files lie in the training bucket; ends with a slash."""
        return run_folder(self.app, self.run_id)

    @property
    def archive_prefix(self) -> str:
        """Where the app's events lie in the archive bucket; ends with a slash."""
        return f"events/app={self.app}/"


@dataclass(frozen=True, slots=True)
class DueCustomer:
    """A customer as it was seen in the due index."""

    customer_id: str
    due_at_ms: int
    events: int
    """`events_since_training` at that moment."""


def new_run_id(now_ms: int) -> str:
    """A name that sorts by time: a later run is a greater one."""
    moment = datetime.fromtimestamp(now_ms / 1000, UTC)
    return f"{moment:%Y%m%dT%H%M%S}{now_ms % 1000:03d}Z-{secrets.token_hex(4)}"


def history_of(newest_first: Sequence[Run]) -> History:
    """What the decision needs of the runs so far."""
    # A run that was ended because training is switched off says nothing about the next one.
    counted = [run for run in newest_first if run.cause is not Cause.SWITCHED_OFF]
    if not counted:
        return History()
    failures = 0
    for run in counted:
        if run.state is not State.FAILED:
            break
        failures += 1
    last = counted[0]
    needs_person = failures > 0 and last.cause is not None and last.cause.needs_person
    return History(last.launched_at_ms, last.ended_at_ms, failures, needs_person)
