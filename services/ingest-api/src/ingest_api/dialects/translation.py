"""What all dialects do alike: taking a body apart, and writing native events. Pure.

Nothing is guessed and nothing is lost: the client's id and time stay as they came, its properties are
the top level of `data` byte for byte, and what else it said lies in `data._client`.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from http import HTTPStatus
from typing import Any

import msgspec

from ingest_api.admission import Item, Refused
from ingest_api.errors import ApiError
from ingest_api.judgement import UNDECODABLE, BadEvent
from kinstream.events import format_time_ms, parse_time_ms

MAX_ID_CHARACTERS = 128
CLIENT_FIELD = "_client"

_CLIENT_NAME = b'"_client"'
_MAX_EPOCH_MS = 253_402_300_799_999
"""The end of the year 9999."""
_NOTHING: tuple[Any, ...] = (None, "", {}, [], msgspec.Raw(b"{}"), msgspec.Raw(b"null"), msgspec.Raw(b""))

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
# Takes what msgspec refuses to step over, such as half of a surrogate pair within one event.
_lenient = json.JSONDecoder(parse_int=str, parse_float=str, strict=False)
_SPACE = re.compile(r"[ \t\n\r]*")


def fields_of(body: bytes) -> dict[str, bytes]:
    """The fields of a JSON object, each one as its own bytes; ApiError 400 where it is none.

    One bad string within a field fails none of the others.
    """
    try:
        return {name: bytes(raw) for name, raw in _decode_fields(body).items()}
    except UNDECODABLE:
        return dict(_scan(body, "{", "}"))


def elements_of(raw: bytes) -> list[bytes]:
    """The elements of a JSON array, each one as its own bytes; ApiError 400 where it is none."""
    try:
        return [bytes(element) for element in _decode_elements(raw)]
    except UNDECODABLE:
        return [element for _, element in _scan(raw, "[", "]")]


def text_of(raw: bytes | None) -> str | None:
    """A field's value where it is a string with something in it, else None."""
    try:
        value = msgspec.json.decode(raw or b"null")
    except UNDECODABLE:
        return None
    return value if isinstance(value, str) and value else None


def translate_each(raws: Iterable[bytes], translate: Callable[[bytes], bytes]) -> list[Item]:
    """`translate` of each item, or why it could not be: BadEvent and what no decoder takes refuse one."""
    items: list[Item] = []
    for raw in raws:
        try:
            items.append(translate(raw))
        except BadEvent as bad:
            items.append(Refused(raw, bad))
        except msgspec.ValidationError as error:
            items.append(Refused(raw, BadEvent("not_an_object", f"an event is a JSON object: {error}")))
        except UNDECODABLE as error:
            items.append(Refused(raw, BadEvent("invalid_json", f"the event is no JSON: {error}")))
    return items


def native_event(
    *,
    event_id: str,
    event_type: str,
    customer_id: str,
    occurred_at: str,
    device_id: str,
    properties: bytes | msgspec.Raw | None,
    client: Mapping[str, Any],
) -> bytes:
    """JSON of a native event. `properties` is the JSON object that becomes the top level of `data`.

    `client` becomes `data._client` without what is empty; its values may be `msgspec.Raw`. A
    `person_id` among the properties that is a string is the event's own. BadEvent where `properties`
    are no object.
    """
    event = {
        "id": event_id,
        "type": event_type,
        "customer_id": customer_id,
        "occurred_at": occurred_at,
        "device_id": device_id,
        "person_id": _person_id(properties),
        "data": data_of(properties, client),
    }
    return msgspec.json.encode(event)


def data_of(properties: bytes | msgspec.Raw | None, client: Mapping[str, Any]) -> msgspec.Raw:
    """The properties' own bytes with `_client` written before their closing brace."""
    raw = bytes(properties or b"").strip()
    if raw in (b"", b"null"):
        raw = b"{}"
    if raw[:1] != b"{":
        raise BadEvent("invalid_field", "properties: expected a JSON object")
    if _CLIENT_NAME in raw:
        # The field is ours: a client's own one would be said twice.
        raw = msgspec.json.encode({k: v for k, v in _decode_fields(raw).items() if k != CLIENT_FIELD})
    said = msgspec.json.encode({name: value for name, value in client.items() if value not in _NOTHING})
    inside = raw[1:-1].strip()
    return msgspec.Raw(b'{%b%b"_client":%b}' % (inside, b"," if inside else b"", said))


def id_or_hash(value: Any, raw: bytes, field: str) -> str:
    """The client's own id, else the SHA-256 of the item's bytes: sent again, it is the same event."""
    return identifier(value, field) or sha256(raw).hexdigest()


def identifier(value: Any, field: str) -> str:
    """An id as text; empty where there is none. Whole numbers are taken, since databases number rows."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise BadEvent("invalid_field", f"{field}: expected a string")
    if len(value) > MAX_ID_CHARACTERS:
        raise BadEvent("invalid_field", f"{field}: longer than {MAX_ID_CHARACTERS} characters")
    return value


def occurred_at(value: Any, field: str) -> str:
    """The client's time: a text as it came, and milliseconds since 1970 in RFC 3339."""
    if value is None or value == "":
        raise BadEvent(
            "missing_field", f"{field}: is required, because an event counts once by its id and its time"
        )
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadEvent("occurred_at_invalid", f"{field}: expected an RFC 3339 time or milliseconds")
    if not 0 <= value <= _MAX_EPOCH_MS:
        raise BadEvent("occurred_at_invalid", f"{field}: expected milliseconds since 1970")
    return format_time_ms(int(value))


def clock_skew_ms(sent_at: Any, received_at_ms: int) -> int | None:
    """By how much the client's clock is ahead of ours, with the way of the request in it.

    `sent_at` is a text or milliseconds since 1970; None where it is no time.
    """
    try:
        sent_ms = parse_time_ms(occurred_at(sent_at, "sent_at")[:64])
    except (BadEvent, ValueError, OverflowError):
        return None
    return sent_ms - received_at_ms


class _Person(msgspec.Struct):
    person_id: Any = None


_decode_person = msgspec.json.Decoder(_Person).decode


def _person_id(properties: bytes | msgspec.Raw | None) -> str:
    try:
        found = _decode_person(properties or b"{}").person_id
    except msgspec.ValidationError:
        return ""
    return found if isinstance(found, str) else ""


def _scan(body: bytes, opening: str, closing: str) -> list[tuple[str, bytes]]:
    """(name, bytes of the value) of each field, or of each element with an empty name."""
    # Bytes that are no UTF-8 pass through as they are, and fail the one event they are in.
    text = body.decode(errors="surrogateescape")
    found: list[tuple[str, bytes]] = []
    at = _skip(text, 0)
    if text[at : at + 1] != opening:
        raise no_json(f"expected {opening} at character {at}")
    at = _skip(text, at + 1)
    try:
        while found or text[at : at + 1] != closing:
            name = ""
            if opening == "{":
                name, at = _lenient.raw_decode(text, _expect(text, at, '"') - 1)
                at = _skip(text, _expect(text, _skip(text, at), ":"))
            _, end = _lenient.raw_decode(text, at)
            found.append((name, text[at:end].encode(errors="surrogateescape")))
            at = _skip(text, end)
            if text[at : at + 1] == closing:
                break
            at = _skip(text, _expect(text, at, ","))
    except (ValueError, RecursionError) as error:
        raise no_json(str(error)) from error
    if _skip(text, at + 1) != len(text):
        raise no_json("there is more after the end")
    return found


def _expect(text: str, at: int, character: str) -> int:
    if text[at : at + 1] != character:
        raise ValueError(f"expected {character} at character {at}")
    return at + 1


def _skip(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def no_json(why: str) -> ApiError:
    """400 for a body that cannot be taken apart."""
    return ApiError(
        HTTPStatus.BAD_REQUEST, "invalid_json", "the body is not the JSON that is read here", why[:300]
    )
