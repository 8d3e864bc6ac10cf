"""The chunk: the events of one app that travel in one message, and its form on the wire."""

import json
from collections.abc import Iterable

import msgspec

from kinstream.errors import PermanentError
from kinstream.events import Event

TYPES_ATTRIBUTE = "types"
TRACEPARENT_ATTRIBUTE = "traceparent"
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
    body = _encoder.encode(chunk)
    for raw, escaped in _FORBIDDEN:
        if raw in body:
            body = body.replace(raw, escaped)
    return body.decode()


def decode_chunk(body: str) -> Chunk:
    """The chunk of a message body; PermanentError where it is none."""
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        raise PermanentError(f"the message is no chunk: {error}") from error


def types_attribute(events: Iterable[Event]) -> dict[str, str]:
    """The SNS attribute by which subscriptions pick chunks: the event types inside, as a list."""
    return {"DataType": "String.Array", "StringValue": json.dumps(sorted({e.type for e in events}))}
