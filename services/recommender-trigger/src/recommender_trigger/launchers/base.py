"""What the scheduler needs of a place where Spark runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from recommender_trigger.domain.attempts import Launched
from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.runs import Run, Usage


class Progress(StrEnum):
    """How far a launched run is."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Status:
    """Progress, and of a failure its reason in a sentence without anybody's data."""

    progress: Progress
    reason: str = ""
    cause: Cause = Cause.JOB
    """Of a failure."""
    log_uri: str | None = None
    """Where the job's log lies."""
    place: str | None = None
    """The subnet that it ran in, for another attempt to avoid."""
    usage: Usage | None = None
    """What the attempt was billed for, of a launcher that tells and an attempt that has ended."""


class Launcher(Protocol):
    """Launches, follows and ends runs. `SUCCEEDED` means that the output lies in the training bucket.

    Guarantee: `find` before `launch` has one of each attempt at work, or two whose second `at_work` names.
    """

    name: str

    async def unavailable(self) -> str | None:
        """None, or a sentence that says what is missing and how to get it."""

    async def find(self, run: Run) -> str | None:
        """The handle of an attempt that was launched already, also by another process that has died."""

    async def launch(self, run: Run) -> str:
        """Start the attempt; its handle. PermanentError where trying again cannot help."""

    async def status(self, run: Run) -> Status:
        """How far the run is; FAILED where nothing is left of it."""

    async def terminate(self, run: Run) -> None:
        """End the run and what it holds; nothing happens where it has ended."""

    async def at_work(self) -> Sequence[Launched]:
        """Everything of this deployment that holds machines now, whoever launched it."""

    async def end(self, handle: str) -> None:
        """End one of those; nothing happens where it has ended."""

    async def let_go(self, run: Run) -> None:
        """Stop following. What another process can adopt goes on; what none can adopt is ended."""
