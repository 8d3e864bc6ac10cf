"""The forms that a body of events comes in: one object, an array, `{"events": [...]}`, or NDJSON. Pure.

`ingest_api.quick` reads a body in which all is well. This is the patient way for any other: it finds
where each event begins and ends, so that a bad one harms no neighbour.
"""

import json
import re
from http import HTTPStatus

import msgspec

from ingest_api.errors import ApiError
from ingest_api.judgement import MAX_EVENT_BYTES, UNDECODABLE

MAX_EVENTS = 1_000


_decode_raw = msgspec.json.Decoder(msgspec.Raw).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
# Takes what msgspec refuses to step over, such as half of a surrogate pair.
_lenient = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)

_TOKEN = re.compile(r'(?s)"(?:[^"\\]|\\.)*(?:"|\\?\Z)|[][{}]')
"""A string, to its end or that of the text, or a bracket."""
_MAX_DEEP_EVENTS = 32
"""No client makes them by mistake, and each costs a hundred times what an ordinary one does."""
_SPACE = re.compile(r"[ \t\n\r]*")
_ENVELOPE_START = re.compile(r'\{\s*"events"\s*:\s*(?=\[)')


def split(body: bytes) -> list[bytes]:
    """The bytes of each event, good or bad. ApiError 400 where the body is no JSON, 413 over the limit.

    `body` is stripped.
    """
    if not body:
        raise _no_json("the body is empty")
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
        events = _lenient_envelope(body)
        if events is None and isinstance(error, RecursionError):
            events = _nested(body)
        return _good_lines(body, error) if events is None else events
    events = _events_of_envelope(body)
    return [body] if events is None else events


def _nested(body: bytes) -> list[bytes] | None:
    """A body that is one event, nested too deep: bad by itself, and to be kept as such."""
    text = body.decode(errors="surrogateescape")
    return [body] if end_of_nested(text, 0) == len(text) else None


def _events_of_envelope(body: bytes) -> list[bytes] | None:
    try:
        fields = _decode_fields(body)
        raws = _decode_raw_list(fields.pop("events"))
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
    check_count(len(raws))
    return [bytes(raw) for raw in raws]


def _elements(body: bytes) -> list[bytes]:
    try:
        raws = _decode_raw_list(body)
    except UNDECODABLE:
        # Bytes that are no UTF-8 pass through as they are, and fail the one event they are in.
        text = body.decode(errors="surrogateescape")
    else:
        check_count(len(raws))
        return [bytes(raw) for raw in raws]
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
    except ApiError as error:
        if error.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            raise
        return None
    closed = _skip_space(text, end)
    return elements if text[closed:] == "}" else None


def _scan_array(text: str, start: int) -> tuple[list[bytes], int]:
    elements: list[bytes] = []
    at = _skip_space(text, start + 1)
    if text[at : at + 1] == "]":
        return elements, at + 1
    deep_left = _MAX_DEEP_EVENTS
    while True:
        try:
            _, end = _lenient.raw_decode(text, at)
        except RecursionError as error:
            deep_left -= 1
            if deep_left < 0:
                raise _no_json(f"more than {_MAX_DEEP_EVENTS} events in it are nested too deep") from error
            end = end_of_nested(text, at)
        except ValueError as error:
            raise _no_json(str(error)) from error
        elements.append(text[at:end].encode(errors="surrogateescape"))
        # Here and not at the end: what is scanned beyond the limit is work for nothing.
        check_count(len(elements))
        at = _skip_space(text, end)
        if text[at : at + 1] == "]":
            return elements, at + 1
        if text[at : at + 1] != ",":
            raise _no_json(f"expected , or ] at character {at}")
        at = _skip_space(text, at + 1)


def end_of_nested(text: str, start: int) -> int:
    """Where an element ends that is nested too deep for a decoder, so that its neighbours are still taken."""
    depth = 0
    for number, token in enumerate(_TOKEN.finditer(text, start)):
        if number > MAX_EVENT_BYTES:
            break
        depth += 1 if token[0] in "[{" else -1 if token[0] in "]}" else 0
        if depth == 0:
            return token.end()
    raise _no_json("an event in it is nested too deep, and longer than an event may be")


def _good_lines(body: bytes, error: Exception) -> list[bytes]:
    lines = lines_of(body)
    check_count(len(lines))
    if len(lines) < 2 or not any(_is_object(line) for line in lines):
        raise _no_json(str(error)) from error
    return lines


def lines_of(body: bytes) -> list[bytes]:
    """Lines that are not blank."""
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
