"""The chunk: the events of one app that travel in one message, and its form on the wire.

On the wire it is JSON, Zstandard, base64: events of one app repeat one another so much that it is half
as long, and base64 has no character that SNS, SQS or a form would escape. `kinstream.chunks.read_json`
shows it to people.
"""

import json
import threading
from collections.abc import Iterable
from itertools import groupby

import msgspec
import pybase64
import zstandard

from kinstream.errors import PermanentError
from kinstream.events import Event, parse_time_ms

TYPES_ATTRIBUTE = "types"
REASON_ATTRIBUTE = "reason"

MAX_CHUNK_BYTES = 64 * 1024
"""Of JSON, before it is compressed."""
MAX_CHUNK_EVENTS = 100
_MAX_INFLATED_BYTES = 1024 * 1024
_LEVEL = -3
"""Measured: half of the time of level 1, for a quarter more bytes."""


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one app. Which of them belong together is each processor's own business."""

    app: str
    events: list[Event]


class Part(msgspec.Struct, frozen=True):
    """Events that arrived together: their JSON as clients sent it, with commas between them.

    `counted` is False for events that are archived but too early or too late to be counted.
    """

    events: bytes
    count: int
    received_at_ms: int
    counted: bool = True


class _Part(msgspec.Struct, omit_defaults=True):
    received_at_ms: int
    events: list[Event]
    counted: bool = True


class _Chunk(msgspec.Struct):
    app: str
    parts: list[_Part]


_decoder = msgspec.json.Decoder(_Chunk)
_encode = msgspec.json.Encoder().encode
_COUNTED = (b"false", b"true")
# What the server adds to an event travels once a part, not once an event.
_OF_THE_PART = frozenset({"occurred_at_ms", "received_at_ms", "counted"})
_set = msgspec.structs.force_setattr


class _Zstandard(threading.local):
    """Costly to make, kept for good, and not to be shared between threads."""

    def __init__(self) -> None:
        self.compress = zstandard.ZstdCompressor(level=_LEVEL).compress
        self.decompress = zstandard.ZstdDecompressor().decompress


_zstandard = _Zstandard()


def encode_chunk(chunk: Chunk) -> str:
    """The message body: text that SNS and SQS take, whatever the events hold."""
    parts = []
    for (received_at_ms, counted), group in groupby(
        chunk.events, key=lambda event: (event.received_at_ms, event.counted)
    ):
        events = [_encode(_as_sent(event)) for event in group]
        parts.append(Part(b",".join(events), len(events), received_at_ms, counted))
    return assemble_chunk(chunk.app, parts).decode()


def assemble_chunk(app: str, parts: Iterable[Part]) -> bytes:
    """The message body of events that are JSON already."""
    inside = b",".join(
        b'{"received_at_ms":%d,"counted":%b,"events":[%b]}'
        % (part.received_at_ms, _COUNTED[part.counted], part.events)
        for part in parts
    )
    text = b'{"app":%b,"parts":[%b]}' % (_encode(app), inside)
    return pybase64.b64encode(_zstandard.compress(text), b"-_").rstrip(b"=")


def decode_chunk(body: str) -> Chunk:
    """The chunk of a message body; PermanentError where it is none."""
    try:
        found = _decoder.decode(read_json(body))
        for part in found.parts:
            for event in part.events:
                # Frozen for everybody but the one who makes it.
                _set(event, "occurred_at_ms", parse_time_ms(event.occurred_at))
                _set(event, "received_at_ms", part.received_at_ms)
                _set(event, "counted", part.counted)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise PermanentError(f"the message is no chunk: {error}") from error
    return Chunk(app=found.app, events=[event for part in found.parts for event in part.events])


def read_json(body: str) -> bytes:
    """The JSON inside a message body; PermanentError where there is none."""
    try:
        packed = pybase64.b64decode(body + "=" * (-len(body) % 4), b"-_", validate=True)
        if zstandard.frame_content_size(packed) <= _MAX_INFLATED_BYTES:
            return _zstandard.decompress(packed, max_output_size=_MAX_INFLATED_BYTES)
    except (ValueError, zstandard.ZstdError) as error:
        raise PermanentError(f"the message is no chunk: {error}") from error
    raise PermanentError(f"the message is no chunk: it has more than {_MAX_INFLATED_BYTES:,} bytes")


def types_attribute(events: Iterable[Event]) -> dict[str, str]:
    """The SNS attribute by which subscriptions pick chunks: the event types inside, as a list."""
    return {"DataType": "String.Array", "StringValue": json.dumps(sorted({e.type for e in events}))}


def _as_sent(event: Event) -> dict[str, object]:
    fields = msgspec.structs.asdict(event)
    return {name: value for name, value in fields.items() if name not in _OF_THE_PART}
