"""What all dialects do alike in writing native events. Pure.

Nothing is guessed and nothing is lost: the client's id and time stay as they came, its properties are
the top level of `data` byte for byte, and what else it said lies in `data._client`.
"""

from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import Any

import msgspec

from ingest_api.admission import Item, Refused
from ingest_api.judgement import MAX_EVENT_BYTES, UNDECODABLE, BadEvent
from kinstream.events import format_time_ms, parse_time_ms

MAX_ID_CHARACTERS = 128
CLIENT_FIELD = "_client"

_MAX_ITEM_BYTES = 4 * MAX_EVENT_BYTES
"""Of an item as it came. What the native event leaves out, and base64, may make it the longer of the two."""

_CLIENT_NAME = b'"_client"'
_MAX_EPOCH_MS = 253_402_300_799_999
"""The end of the year 9999."""
_NOTHING: tuple[Any, ...] = (None, "", {}, [], msgspec.Raw(b"{}"), msgspec.Raw(b"null"), msgspec.Raw(b""))

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def translate_each(raws: Iterable[bytes], translate: Callable[[bytes], bytes]) -> list[Item]:
    """`translate` of each item, or why it could not be: BadEvent and what no decoder takes refuse one."""
    items: list[Item] = []
    for raw in raws:
        try:
            _check_size(raw)
            items.append(translate(raw))
        except BadEvent as bad:
            items.append(Refused(raw, bad))
        except RecursionError:
            items.append(Refused(raw, BadEvent("too_deep", "the event is nested too deep to be read")))
        except msgspec.ValidationError as error:
            items.append(Refused(raw, BadEvent("not_an_object", f"an event is a JSON object: {error}")))
        except UNDECODABLE as error:
            items.append(Refused(raw, BadEvent("invalid_json", f"the event is no JSON: {error}")))
    return items


def _check_size(raw: bytes) -> None:
    if len(raw) > _MAX_ITEM_BYTES:
        raise BadEvent(
            "event_too_large", f"the event has {len(raw):,} bytes; {MAX_EVENT_BYTES:,} are the limit"
        )


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


def digest(said: Mapping[str, Any]) -> str:
    """The id of an event that has none: SHA-256 of what makes the event, in whatever order it is said.

    Sent again, it is the same event, so `said` holds nothing that changes from try to try. Its values may
    be `msgspec.Raw`; what is empty counts as not said.
    """
    kept = {name: value for name, value in said.items() if value not in _NOTHING}
    return sha256(
        msgspec.json.format(msgspec.json.encode(kept, order="deterministic"), indent=-1)
    ).hexdigest()


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
