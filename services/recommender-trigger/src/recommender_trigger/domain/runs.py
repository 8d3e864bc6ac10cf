"""What a run is and which way it goes: launching, running, publishing, done or failed."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from kinstream.versions import run_folder
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
    published: bool | None = None
    reason: str = ""
    """Why it failed, or what the gate said."""

    def advanced(self, state: State, **fields: object) -> "Run":
        """The run in a later state."""
        return replace(self, state=state, **fields)  # type: ignore[arg-type]

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
    if not newest_first:
        return History()
    failures = 0
    for run in newest_first:
        if run.state is not State.FAILED:
            break
        failures += 1
    last = newest_first[0]
    return History(last.launched_at_ms, last.ended_at_ms, failures)
