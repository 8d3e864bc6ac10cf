"""A group: the events of up to ten messages, cut into units of work and packed into transactions.

Guarantee: a message counts as done only when every one of its events is committed, was committed before,
or is put aside with its reason. A unit that fails leaves the others of its group alone.
"""

import asyncio
import logging
import random
import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from kinstream.chunks import Chunk, decode_chunk, encode_chunk
from kinstream.errors import PermanentError, RetryableError
from kinstream.events import Event
from kinstream.generations import app_of, space
from kinstream.queues import Message, SqsQueue
from session_worker.effects import Announce, Score
from session_worker.engine.store import AwayError, BusyError, StaleError, Store
from session_worker.processor import LedgerKey, Processor

log = logging.getLogger(__name__)

MAX_ATTEMPTS = 6
MAX_AWAY_ATTEMPTS = 2
MAX_QUEUED_MS = 14 * 86_400_000
"""SQS's longest retention of a message."""
_SPLIT_AFTER = 3
_COMPLAINTS_SECONDS = 10.0


class TooManyWritesError(Exception):
    """The lot needs more items than a transaction holds; halves of it may do."""

    def __init__(self) -> None:
        super().__init__("it needs more writes than a transaction of DynamoDB holds")


class UnitError(Exception):
    """A processor's function failed on this unit of the lot, and `reason` says how."""

    def __init__(self, unit: "Unit", reason: Exception) -> None:
        super().__init__(str(reason))
        self.unit = unit
        self.reason = reason


class Counted(NamedTuple):
    """An event with where it came from."""

    event: Event
    message: Message


@dataclass(slots=True)
class Unit:
    """Events that are counted together or not at all, because they share a ledger item or a timeline."""

    app: str
    """The app, or its space in a later generation (see `kinstream.generations`)."""
    key: LedgerKey
    start_ms: int
    members: list[Counted]


@dataclass(slots=True)
class Outcome:
    """What came of a group."""

    announcements: list[Announce] = field(default_factory=list)
    scores: list[tuple[str, Score]] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    """Message id to the reason why it must be tried again."""
    counted: int = 0
    duplicates: int = 0

    def fail(self, unit: Unit, error: Exception) -> None:
        """Every message that has an event in the unit comes again."""
        for member in unit.members:
            self.failed[member.message.id] = f"{type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True)
class CommitOptions:
    """What commits of all processors of one worker share."""

    hash_key: bytes
    """Secret of the ledger's hashes, at most 64 bytes."""
    slot: int
    """Where this worker's increments of spread counters go."""
    retention_ms: int
    """How far back events are accepted."""
    now_ms: Callable[[], int]

    def expires_at(self, end_ms: int) -> int:
        """When a bucket that ends then may go, in seconds since 1970.

        Not before the last of its events can have come: accepted at the last moment, and then as long in
        queues as SQS keeps a message at most. Nor soon after it was written: a rebuild counts old events.
        """
        return (max(end_ms, self.now_ms()) + self.retention_ms + MAX_QUEUED_MS) // 1000


P = TypeVar("P", bound=Processor)


class Committer(ABC, Generic[P]):
    """Commits units. How, is what the two kinds of stateful processor differ in."""

    def __init__(self, processor: P, store: Store, options: CommitOptions) -> None:
        self.processor = processor
        self._store = store
        self._options = options

    @abstractmethod
    def unit_key(self, app: str, event: Event) -> tuple[str, LedgerKey, int]:
        """What an event's unit is known by. PermanentError puts the event aside."""

    @abstractmethod
    async def commit(self, units: Sequence[Unit], outcome: Outcome) -> None:
        """Commit all these units together. PermanentError only when there is one of one event."""

    @abstractmethod
    def pack(self, units: Sequence[Unit]) -> Iterable[list[Unit]]:
        """Cut units into lots that one transaction can hold."""


class Group:
    """Runs groups of one processor."""

    def __init__(
        self, committer: Committer[P], queue: SqsQueue, jitter: Callable[[], float] = random.random
    ) -> None:
        self._committer = committer
        self._queue = queue
        self._jitter = jitter
        self._bugs = 0
        self._next_complaint = time.monotonic()

    async def run(self, messages: Sequence[Message], generation: int = 0) -> Outcome:
        """Count the events of these messages. Messages that are not in `failed` may be deleted."""
        outcome = Outcome()
        units = await self._units(messages, generation, outcome)
        for lot in self._committer.pack(units):
            await self._settle(lot, outcome)
        return outcome

    async def _units(self, messages: Sequence[Message], generation: int, outcome: Outcome) -> list[Unit]:
        found: dict[tuple[str, LedgerKey, int], list[Counted]] = defaultdict(list)
        for message in messages:
            try:
                chunk = decode_chunk(message.body)
            except PermanentError as error:
                await self._queue.put_aside(message.body, str(error))
                continue
            app = space(chunk.app, generation)
            for event in chunk.events:
                member = Counted(event, message)
                try:
                    if self._committer.processor.takes(event):
                        found[self._committer.unit_key(app, event)].append(member)
                except PermanentError as error:
                    await self._put_aside(chunk.app, [member], error)
                except Exception as error:  # noqa: BLE001 - a processor's bug must not fail its neighbours
                    outcome.failed[message.id] = f"{type(error).__name__}: {error}"
        return [Unit(*identity, members) for identity, members in found.items()]

    async def _settle(self, lot: Sequence[Unit], outcome: Outcome) -> None:
        """Commit a lot; part it when it conflicts or fails, until what fails stands alone."""
        try:
            await self._attempt(lot, outcome)
        except UnitError as error:
            # Known before anything was asked of DynamoDB: the others go on together.
            rest = [unit for unit in lot if unit is not error.unit]
            if rest:
                await self._settle(rest, outcome)
            await self._part([error.unit], error.reason, outcome)
        except RetryableError as error:
            for unit in lot:
                outcome.fail(unit, error)
        except Exception as error:  # noqa: BLE001 - of whatever kind: what brings it out must stand alone
            await self._part(lot, error, outcome)

    async def _part(self, lot: Sequence[Unit], error: Exception, outcome: Outcome) -> None:
        """Settle the halves of what failed; an event that fails by itself is given up or comes again."""
        if len(lot) > 1 or len(lot[0].members) > 1:
            await self._settle_halves(lot, outcome)
        elif isinstance(error, PermanentError | TooManyWritesError):
            await self._put_aside(lot[0].app, lot[0].members, error)
        else:
            # A bug in a processor: the event that brings it out comes again until the queue gives it up.
            self._complain(error)
            outcome.fail(lot[0], error)

    def _complain(self, error: Exception) -> None:
        """Log a bug, now and then: one that every event brings out must not take the others' time."""
        self._bugs += 1
        if time.monotonic() >= self._next_complaint:
            extra = {"processor": self._committer.processor.name, "times": self._bugs}
            log.error("unit failed", exc_info=error, extra=extra)
            self._bugs, self._next_complaint = 0, time.monotonic() + _COMPLAINTS_SECONDS

    async def _settle_halves(self, lot: Sequence[Unit], outcome: Outcome) -> None:
        for part in _halves(lot):
            await self._settle(part, outcome)

    async def _attempt(self, lot: Sequence[Unit], outcome: Outcome) -> None:
        for attempt in range(MAX_ATTEMPTS):
            try:
                await self._committer.commit(lot, outcome)
            except (StaleError, BusyError, AwayError) as error:
                # Attempts of all kinds together: an AwayError may follow after other refusals.
                if attempt >= (MAX_AWAY_ATTEMPTS if isinstance(error, AwayError) else MAX_ATTEMPTS) - 1:
                    raise
                if attempt >= _SPLIT_AFTER and len(lot) > 1 and not isinstance(error, AwayError):
                    return await self._settle_halves(lot, outcome)
                if not isinstance(error, StaleError):
                    await asyncio.sleep(self._jitter() * 0.05 * 2**attempt)
            else:
                return None
        raise AssertionError("unreachable")

    async def _put_aside(self, app: str, members: Sequence[Counted], error: Exception) -> None:
        chunk = Chunk(app=app_of(app), events=[member.event for member in members])
        await self._queue.put_aside(encode_chunk(chunk), str(error))
        log.warning(
            "event put aside",
            extra={"processor": self._committer.processor.name, "app": chunk.app, "events": len(members)},
        )


def _halves(lot: Sequence[Unit]) -> list[list[Unit]]:
    if len(lot) > 1:
        middle = len(lot) // 2
        return [list(lot[:middle]), list(lot[middle:])]
    (unit,) = lot
    middle = len(unit.members) // 2
    return [
        [Unit(unit.app, unit.key, unit.start_ms, part)]
        for part in (unit.members[:middle], unit.members[middle:])
    ]
