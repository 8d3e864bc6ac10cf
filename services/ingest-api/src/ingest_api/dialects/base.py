"""What a dialect is: another protocol in which clients send events, translated into native ones. Pure.

A dialect reads a request into items, each of them either the JSON of a native event or a verdict on
why there is none. What comes after is the same for all: admission judges each native event, SNS or the
quarantine has all of them before the dialect's answer is sent. Reading the same request twice gives the
same events, so a client that sends again is counted once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from ingest_api.admission import Item, Rejection
from ingest_api.errors import ApiError


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request as a dialect reads it. `body` is whole and inflated, `headers` are in lower case."""

    method: str
    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    body: bytes
    received_at_ms: int


@dataclass(frozen=True, slots=True)
class Reading:
    """What a request holds: `key` is the API key that the body or query carries, where it does.

    `notes` is the dialect's own, for its answer.
    """

    items: Sequence[Item]
    key: str | None = None
    notes: Any = None


class Answer(msgspec.Struct, frozen=True):
    """The answer to a request whose events are durable."""

    status: int
    body: bytes
    content_type: bytes = b"application/json"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the items. `rejected` names each that is not counted, by its index."""

    accepted: int
    rejected: Sequence[Rejection] = field(default_factory=tuple)


class Dialect(Protocol):
    """One protocol; each inherits from this class. Raises ApiError where a request cannot be read at all."""

    routes: Mapping[str, frozenset[str]]
    """Paths that it serves, each with its methods."""
    has_unlabelled_gzip: bool = False
    """Whether some of its clients send gzip without saying so."""

    def read(self, incoming: Incoming) -> Reading:
        """The request's key and items. At most `bodies.MAX_EVENTS` items; see `bodies.check_count`."""

    def answer(self, incoming: Incoming, reading: Reading, outcome: Outcome) -> Answer:
        """What this protocol's clients take for success."""

    def refusal(self, error: ApiError) -> ApiError:
        """`error` in the status that this protocol's clients take for what it means."""
        return error

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        """OpenAPI path items of `routes`: requests, responses and examples in full."""
