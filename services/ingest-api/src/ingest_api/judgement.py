"""One event, judged: is it good, and if not, which field is wrong and how. Pure.

`codes`: event_too_large, too_deep, invalid_json, not_an_object, unknown_field, missing_field,
invalid_field, occurred_at_invalid, occurred_at_in_future, occurred_at_too_old.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

from kinstream.events import EMPTY_DATA, PAYLOADS, RESERVED_TYPES, ActivityData, ClientEvent, parse_time_ms

MAX_EVENT_BYTES = 32 * 1024
MAX_AHEAD_MS = 5 * 60 * 1000
"""How far a client's clock may be ahead."""

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class BadEvent(Exception):  # noqa: N818 - a verdict, not a failure of ours
    """Why an event is not taken: a stable code and a sentence that names the field."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


class Window(NamedTuple):
    """Times of occurrence that count, in milliseconds since 1970, both ends included."""

    earliest_ms: int
    latest_ms: int

    @classmethod
    def at(cls, now_ms: int, retention_ms: int) -> "Window":
        """The window by the server's clock."""
        return cls(max(0, now_ms - retention_ms), now_ms + MAX_AHEAD_MS)


def _decoder_of_payload(payload: type[msgspec.Struct]) -> Callable[[Any], Any]:
    # What sessions read must be readable in every type, whatever else its payload asks for.
    missing = [
        (field, Any, None)
        for field in ActivityData.__struct_fields__
        if field not in payload.__struct_fields__
    ]
    checked = msgspec.defstruct(payload.__name__, missing, bases=(payload,), kw_only=True, frozen=True)
    return msgspec.json.Decoder(checked).decode


_MARGIN_LEVELS = 32
_OPENED, _CLOSED = b"[" * _MARGIN_LEVELS, b"]" * _MARGIN_LEVELS


def decoder_with_margin(kind: Any) -> msgspec.json.Decoder[Any]:
    """A decoder for `wrapped`."""
    for _ in range(_MARGIN_LEVELS):
        kind = tuple[kind]
    return msgspec.json.Decoder(kind)


def wrapped(decoder: msgspec.json.Decoder[Any], text: bytes) -> Any:
    """What `decoder` reads in `text` when it stands some levels deep: a margin below the recursion limit.

    Whatever passes can be read by every program behind this one, though it comes with a few levels around
    it and its reader with a few calls below it. Counting brackets instead would cost as much as decoding.
    """
    found = decoder.decode(b"".join((_OPENED, text, _CLOSED)))
    for _ in range(_MARGIN_LEVELS):
        (found,) = found
    return found


_probe = decoder_with_margin(msgspec.Raw)
_decode_client_event = msgspec.json.Decoder(ClientEvent).decode
_decode_any_payload = msgspec.json.Decoder(ActivityData).decode
_payload_decoders = {name: _decoder_of_payload(payload) for name, payload in PAYLOADS.items()}


def judge(raw: bytes) -> ClientEvent:
    """The event in `raw`, checked in all but its time of occurrence; BadEvent says what is wrong."""
    if len(raw) > MAX_EVENT_BYTES:
        raise BadEvent(
            "event_too_large", f"the event has {len(raw):,} bytes; {MAX_EVENT_BYTES:,} are the limit"
        )
    try:
        raw.decode()
        wrapped(_probe, raw)
        event = _decode_client_event(raw)
    except msgspec.ValidationError as error:
        raise _bad_field(str(error), "") from error
    except RecursionError as error:
        raise BadEvent("too_deep", "the event is nested too deep to be read; flatten data") from error
    except UNDECODABLE as error:
        raise BadEvent("invalid_json", f"the event is no JSON: {error}") from error
    if event.type in RESERVED_TYPES:
        raise BadEvent("invalid_field", f"type: {event.type} is said by the server alone")
    try:
        check_payload(event)
    except msgspec.ValidationError as error:
        raise _bad_field(str(error), "data") from error
    except UNDECODABLE as error:
        raise BadEvent("invalid_field", f"data: {error}") from error
    return event


def check_payload(event: ClientEvent) -> None:
    """Raise msgspec's error unless `data` is an object that its type's processors can read."""
    decode = _payload_decoders.get(event.type)
    if decode is not None:
        decode(event.data)
    elif event.data is not EMPTY_DATA:
        _decode_any_payload(event.data)


def occurred_ms(event: ClientEvent) -> int:
    """Milliseconds since 1970 at which the event says it occurred; BadEvent where it says no time."""
    try:
        return parse_time_ms(event.occurred_at)
    except (ValueError, OverflowError) as error:
        detail = f"occurred_at: not an RFC 3339 time such as 2026-11-20T18:04:05.123Z: {error}"
        raise BadEvent("occurred_at_invalid", detail) from error


def check_time(time_ms: int, window: Window) -> None:
    """Raise BadEvent unless an event of this time counts."""
    if time_ms > window.latest_ms:
        ahead = (time_ms - window.latest_ms + MAX_AHEAD_MS) // 1000
        raise BadEvent("occurred_at_in_future", f"occurred_at: {ahead:,} s ahead of the server's clock")
    if time_ms < window.earliest_ms:
        raise BadEvent(
            "occurred_at_too_old", "occurred_at: older than events are kept; archived, not counted"
        )


def id_of(raw: bytes) -> str | None:
    """The id of an event that was not taken, where one can be read."""
    try:
        found = _decode_id(raw).id
    except UNDECODABLE:
        return None
    return found if isinstance(found, str) and len(found) <= 128 else None


class _OnlyId(msgspec.Struct):
    id: Any = None


_decode_id = msgspec.json.Decoder(_OnlyId).decode

_AT = re.compile(r"^(?P<reason>.*?)(?: - at `\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_NAMED = re.compile(r"^Object (?P<what>contains unknown|missing required) field `(?P<field>.*)`$", re.DOTALL)
_CODES = {"contains unknown": "unknown_field", "missing required": "missing_field"}


def _bad_field(message: str, inside: str) -> BadEvent:
    """msgspec's message as a code and a sentence that begins with the field."""
    match = _AT.match(message)
    reason, path = (match["reason"], match["path"] or "") if match else (message, "")
    parts = [part for part in (inside, path) if part]
    if named := _NAMED.match(reason):
        field = ".".join([*parts, named["field"]])[:200]
        known = "" if inside else f"; known are {', '.join(ClientEvent.__struct_fields__)}"
        text = f"no such field{known}" if named["what"] == "contains unknown" else "is required"
        return BadEvent(_CODES[named["what"]], f"{field}: {text}")
    if not parts:
        return BadEvent("not_an_object", f"an event is a JSON object: {reason}")
    if parts == ["type"] and "regex" in reason:
        reason = "looks like noun.past_verb in lower case, such as content.viewed"
    return BadEvent("invalid_field", f"{'.'.join(parts)}: {reason}")
