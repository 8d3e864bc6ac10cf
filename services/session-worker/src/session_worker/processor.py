"""What a processor is. One file in `processors/` each; the engine does the rest.

Three kinds. A `Reducer` looks at the new events of one key in one bucket of time. A `Timeline` looks at
all events of one key in order of time, for results that hang on the order. A `Sink` turns events into
files. The first two count exactly once through the ledger; a sink writes at least once.
"""

import importlib
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

import msgspec

from kinstream.errors import PermanentError
from kinstream.events import Event
from kinstream.ledger_format import MAX_BUCKET_SECONDS, Bucket, Fact
from kinstream.resources import ProcessorQueue
from session_worker.effects import Effect


class LedgerKey(NamedTuple):
    """Whose ledger item an event belongs to. The app comes first by itself."""

    partition: tuple[str, ...]
    series: tuple[str, ...] = ()


class Processor(ABC):
    """What all kinds have. `handles` is None for every type of event."""

    name: ClassVar[str]
    handles: ClassVar[frozenset[str] | None]
    example: ClassVar[Mapping[str, Any]]
    """A native event that it handles, as documentation and as a test."""
    payloads: ClassVar[Mapping[str, type[msgspec.Struct]]] = MappingProxyType({})
    """What it reads of the data of a type, see `data`. What it does not name is somebody else's."""
    concurrency: ClassVar[int] = 2
    """Groups under way at once in one worker."""
    visibility_timeout_seconds: ClassVar[int] = 30
    """How long a message of a dead worker stays unseen. Counting it twice is no danger."""

    def resource(self) -> ProcessorQueue:
        """The queue that it needs."""
        handles = tuple(sorted(self.handles)) if self.handles else None
        return ProcessorQueue(self.name, handles, self.visibility_timeout_seconds)

    def takes(self, event: Event) -> bool:
        """Whether an event that came along in a chunk is for this processor."""
        return event.counted and (self.handles is None or event.type in self.handles)

    def data(self, event: Event) -> Any:
        """The event's data as its type in `payloads`. Data that is none is a PermanentError, which puts
        the event aside with the reason."""
        try:
            return msgspec.json.decode(event.data, type=self.payloads[event.type])
        except msgspec.MsgspecError as error:
            raise PermanentError(f"data of {event.type}: {error}") from error


class Stateful(Processor):
    """A processor with a ledger. PermanentError from its functions puts the one event aside."""

    bucket_seconds: ClassVar[int] = 3_600

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not 0 < cls.bucket_seconds <= MAX_BUCKET_SECONDS:
            raise TypeError(f"{cls.__name__}.bucket_seconds must be 1 to {MAX_BUCKET_SECONDS}")

    @abstractmethod
    def key(self, event: Event) -> LedgerKey:
        """The key whose set of events this one joins."""


class Reducer(Stateful):
    """Effects of new events that hang on nothing but the events themselves."""

    rebuildable: ClassVar[bool] = True
    """Whether `kinstream rebuild` can count anew beside what is served. Not where something was told or
    begun on account of the results: no second generation may do that again."""

    def fact(self, event: Event) -> Fact:
        """What the ledger keeps of the event for views; nothing unless it is overridden."""
        return ()

    def due_at_ms(self, bucket: Bucket, new: Sequence[Event], now_ms: int) -> int:
        """When somebody must look at the bucket that the new events have joined; 0: nobody must.

        Written with the bucket. The ledger's due index finds buckets by it.
        """
        return bucket.due_at_ms

    @abstractmethod
    def effects(self, app: str, key: LedgerKey, new: Sequence[Event]) -> Iterable[Effect]:
        """Effects of events that have never been counted before, in no particular order.

        `app` is for keys alone: in a later generation more than the app's name, see `kinstream.generations`.
        """


@dataclass(frozen=True, slots=True)
class History:
    """The stored part of a timeline that its new events can change, with these in it already.

    `head` is what the last replay of this key left, `carry` the state out of the bucket before the first
    of these; both are empty bytes at the beginning.
    """

    head: bytes
    carry: bytes
    buckets: Sequence[Bucket]
    commits: int
    """How many commits have gone before. A commit that is tried again finds the same number, every other
    one another: what names an announcement."""
    settled_before_ms: int
    """No event from before this can come any more."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a timeline comes to: a state to carry out of each bucket, the new head, the effects."""

    states: Sequence[bytes]
    head: bytes
    effects: Sequence[Effect]


class Timeline(Stateful):
    """Results that hang on the order of events, recomputed whenever the set of events changes."""

    @abstractmethod
    def references(self, app: str, key: LedgerKey) -> str:
        """Partition key in the registry of the records that `fact` judges by."""

    @abstractmethod
    def fact(self, event: Event, references: Sequence[Mapping[str, Any]]) -> Fact:
        """What is known of the event from now on, judged once, when it is counted."""

    @abstractmethod
    def replay(self, app: str, key: LedgerKey, history: History, now_ms: int) -> Replayed:
        """Walk the buckets in order of time, from the state carried out of the one before them."""


@dataclass(frozen=True, slots=True)
class File:
    """An object to write: the same name for the same messages, so that a repetition overwrites."""

    key: str
    body: bytes
    metadata: Mapping[str, str]


class Sink(Processor):
    """Writes events somewhere in files. At least once: readers drop repetitions by identity."""

    bucket: ClassVar[str]
    """Short name of the S3 bucket."""
    visibility_timeout_seconds: ClassVar[int] = 60

    def resource(self) -> ProcessorQueue:
        """The queue that it needs, and the bucket."""
        return replace(super().resource(), bucket=self.bucket)

    @abstractmethod
    def files(self, batch_id: str, events: Mapping[str, Sequence[Event]]) -> Iterator[File]:
        """Files of a batch of events by app. `batch_id` names the batch."""


def discover() -> list[Processor]:
    """Every processor in `processors/`, by name. Settings of each are read from the environment."""
    package = importlib.import_module("session_worker.processors")
    found: list[Processor] = []
    for module_info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{package.__name__}.{module_info.name}")
        found += [
            value()
            for value in vars(module).values()
            if isinstance(value, type)
            and issubclass(value, Processor)
            and value.__module__ == module.__name__
        ]
    return sorted(found, key=lambda processor: processor.name)
