"""The chunk: the events of one app that travel in one message, and its form on the wire."""

import json
from collections.abc import Iterable

import msgspec

from kinstream.errors import PermanentError
from kinstream.events import Event

TYPES_ATTRIBUTE = "types"
REASON_ATTRIBUTE = "reason"

MAX_CHUNK_BYTES = 64 * 1024
MAX_CHUNK_EVENTS = 100


class Chunk(msgspec.Struct, frozen=True, kw_only=True):
    """Events of one app. Which of them belong together is each processor's own business."""

    app: str
    events: list[Event]


_decoder = msgspec.json.Decoder(Chunk)
_encoder = msgspec.json.Encoder()

# SQS refuses a whole message for a character that XML 1.0 lacks. msgspec escapes the control
# characters already; the two non-characters left are escaped here.
_FORBIDDEN = ((b"\xef\xbf\xbe", b"\\ufffe"), (b"\xef\xbf\xbf", b"\\uffff"))


def encode_chunk(chunk: Chunk) -> str:
    """The message body: JSON in characters that SQS takes."""
    return assemble_chunk(chunk.app, [_encoder.encode(event) for event in chunk.events]).decode()


def assemble_chunk(app: str, events: Iterable[bytes]) -> bytes:
    """The message body of events that are JSON already."""
    body = b'{"app":%b,"events":[%b]}' % (_encoder.encode(app), b",".join(events))
    if not body.isascii():
        for raw, escaped in _FORBIDDEN:
            body = body.replace(raw, escaped)
    return body


def decode_chunk(body: str) -> Chunk:
    """The chunk of a message body; PermanentError where it is none."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError, RecursionError) as error:
        raise PermanentError(f"the message is no chunk: {error}") from error


def types_attribute(events: Iterable[Event]) -> dict[str, str]:
    """The SNS attribute by which subscriptions pick chunks: the event types inside, as a list."""
    return {"DataType": "String.Array", "StringValue": json.dumps(sorted({e.type for e in events}))}
