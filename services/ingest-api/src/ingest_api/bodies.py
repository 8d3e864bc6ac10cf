"""The forms that a body of events comes in: one object, an array, `{"events": [...]}`, or NDJSON. Pure.

`typed` is the fast way, for a body in which every event has the right form. `split` is the patient
one: it only finds where each event begins and ends, so that a bad one harms no neighbour.
"""

import json
import re
from collections.abc import Sequence
from http import HTTPStatus

import msgspec

from ingest_api.errors import ApiError
from ingest_api.judgement import UNDECODABLE
from kinstream.events import ClientEvent

MAX_EVENTS = 1_000

Raw = bytes | msgspec.Raw
"""The bytes of one event."""


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    events: list[ClientEvent]


class _RawEnvelope(msgspec.Struct):
    events: list[msgspec.Raw]


_decode_one = msgspec.json.Decoder(ClientEvent).decode
_decode_list = msgspec.json.Decoder(list[ClientEvent]).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_raw_envelope = msgspec.json.Decoder(_RawEnvelope).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# Takes what msgspec refuses to step over, such as half of a surrogate pair.
_lenient = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)

_SPACE = re.compile(r"[ \t\n\r]*")
_ENVELOPE_START = re.compile(r'\{\s*"events"\s*:\s*(?=\[)')


def typed(body: bytes) -> tuple[list[ClientEvent], Sequence[Raw]] | None:
    """(events, their bytes) where all of them have the right form, else None. `body` is stripped."""
    if not body:
        raise _no_json("the body is empty")
    try:
        if body[:1] == b"[":
            return _decode_list(body), _decode_raw_list(body)
        return _typed_objects(body)
    except UNDECODABLE:
        return None


def _typed_objects(body: bytes) -> tuple[list[ClientEvent], Sequence[Raw]]:
    try:
        return [_decode_one(body)], [body]
    except msgspec.MsgspecError:
        pass
    try:
        events = _decode_envelope(body).events
    except msgspec.MsgspecError:
        # Line by line: a decoder of many lines would cut where the grammar does, not where lines end.
        lines = _lines(body)
        return [_decode_one(line) for line in lines], lines
    return events, _decode_raw_envelope(body).events


def split(body: bytes) -> list[bytes]:
    """The bytes of each event, good or bad. ApiError 400 where the body is no JSON, 413 over the limit."""
    events = _split(body)
    check_count(len(events))
    return events


def check_count(count: int) -> None:
    """413 unless a request may have so many events."""
    if count > MAX_EVENTS:
        raise ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_many_events",
            f"the request has {count:,} events; send at most {MAX_EVENTS:,} at once",
            {"limit": MAX_EVENTS},
        )


def _split(body: bytes) -> list[bytes]:
    if body[:1] == b"[":
        return _elements(body)
    try:
        _decode_raw(body)
    except UNDECODABLE as error:
        return _lenient_envelope(body) or _good_lines(body, error)
    return _events_of_envelope(body) or [body]


def _events_of_envelope(body: bytes) -> list[bytes] | None:
    try:
        fields = _decode_fields(body)
        events = [bytes(raw) for raw in _decode_raw_list(fields.pop("events"))]
    except (*UNDECODABLE, KeyError):
        return None
    if fields:
        field = next(iter(fields))[:100]
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "unknown_field",
            f'{field}: no such field beside "events"',
            {"field": field},
        )
    return events


def _elements(body: bytes) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _decode_raw_list(body)]
    except UNDECODABLE:
        # Bytes that are no UTF-8 pass through as they are, and fail the one event they are in.
        text = body.decode(errors="surrogateescape")
    elements, end = _scan_array(text, 0)
    if _skip_space(text, end) != len(text):
        return _good_lines(body, ValueError("there is more after the end of the array"))
    return elements


def _lenient_envelope(body: bytes) -> list[bytes] | None:
    text = body.decode(errors="surrogateescape")
    start = _ENVELOPE_START.match(text)
    if not start:
        return None
    try:
        elements, end = _scan_array(text, start.end())
    except ApiError:
        return None
    closed = _skip_space(text, end)
    return elements if text[closed:] == "}" else None


def _scan_array(text: str, start: int) -> tuple[list[bytes], int]:
    elements: list[bytes] = []
    at = _skip_space(text, start + 1)
    if text[at : at + 1] == "]":
        return elements, at + 1
    while True:
        try:
            _, end = _lenient.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            raise _no_json(str(error)) from error
        elements.append(text[at:end].encode(errors="surrogateescape"))
        at = _skip_space(text, end)
        if text[at : at + 1] == "]":
            return elements, at + 1
        if text[at : at + 1] != ",":
            raise _no_json(f"expected , or ] at character {at}")
        at = _skip_space(text, at + 1)


def _good_lines(body: bytes, error: Exception) -> list[bytes]:
    lines = _lines(body)
    check_count(len(lines))
    if len(lines) < 2 or not any(_is_object(line) for line in lines):
        raise _no_json(str(error)) from error
    return lines


def _lines(body: bytes) -> list[bytes]:
    return [line for raw in body.split(b"\n") if (line := raw.strip())]


def _is_object(line: bytes) -> bool:
    try:
        _decode_raw(line)
    except UNDECODABLE:
        return False
    return line[:1] == b"{"


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _no_json(why: str) -> ApiError:
    message = "the body is no JSON: send one event, an array, an object with events, or one event a line"
    return ApiError(HTTPStatus.BAD_REQUEST, "invalid_json", message, why[:300])
