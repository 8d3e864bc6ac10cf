"""PostHog's capture endpoints: the old ones (`/batch/` and its kin) and `/i/v1/analytics/events`. Pure.

The key is the body's `api_key` (or `token`), or the Bearer of the new endpoint. Answers are 200, since
PostHog's clients take any other success for a failure and send again. Feature flags are not served.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qs, unquote_to_bytes
from uuid import UUID

import msgspec

from ingest_api.dialects import keys, naming, parts, posthog_pages, translation
from ingest_api.dialects.base import Answer, Dialect, Incoming, Outcome, Reading
from ingest_api.dialects.outcomes import counted
from ingest_api.errors import ApiError
from ingest_api.judgement import BadEvent

V1_PATH = "/i/v1/analytics/events"
V0_PATHS = tuple(
    path + slash for path in ("/batch", "/capture", "/e", "/track", "/i/v0/e") for slash in ("/", "")
)

_TYPES = {
    "$pageview": naming.PAGE_VIEWED,
    "$pageleave": "page.left",
    "$screen": naming.SCREEN_VIEWED,
    "$identify": naming.CUSTOMER_IDENTIFIED,
    "$set": "customer.updated",
    "$set_once": "customer.updated",
    "$groupidentify": naming.GROUP_IDENTIFIED,
    "$create_alias": naming.CUSTOMER_ALIASED,
}
_KEYS = ("api_key", "token")
_MOVED = ("$set", "$set_once")
"""What old clients say beside `properties` and new ones within."""

_FORM = b"data="
_MAX_PARAMETERS = 20
_SENT_HEADER = b"posthog-request-timestamp"

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class _Envelope:
    """What a request says once for all of its events."""

    key: str | None
    """The one that the body names; an event may name no other."""
    used: str | None
    """The one that the request is taken by: the header's, else the body's."""
    is_key_in_properties: bool
    sent_at: Any
    received_at_ms: int


class PostHog(Dialect):
    """PostHog's clients. An event's id is its `uuid`: sent again, it is counted once."""

    routes = MappingProxyType({path: frozenset({"POST"}) for path in (*V0_PATHS, V1_PATH)})
    has_unlabelled_gzip = True

    def read(self, incoming: Incoming) -> Reading:
        """The events of a batch, an array or one object, in JSON or in the form that old browsers send."""
        body = _of_form(incoming.body.strip())
        fields, raws = _taken_apart(body)
        in_header = keys.of_header(incoming.headers)
        key = _key_of(fields) or _first_key(raws)
        # Looked for there last: a property may be named so and be no key.
        in_properties = None if in_header or key else _first_key_of_properties(raws)
        key = key or in_properties
        used = in_header or key
        sent_at = _sent_at(fields, incoming)
        envelope = _Envelope(key, used, in_properties is not None, sent_at, incoming.received_at_ms)
        items = translation.translate_each(raws, partial(_translate, envelope=envelope))
        return Reading(keys.kept_out(items, used, *_KEYS), key, raws)

    def answer(self, incoming: Incoming, reading: Reading, outcome: Outcome) -> Answer:
        """200; the new endpoint's clients want a result for each event, and take `drop` for final."""
        if incoming.path != V1_PATH:
            return Answer(200, msgspec.json.encode({"status": "Ok"} | counted(reading, outcome, "uuid")))
        return Answer(200, msgspec.json.encode({"results": _results(reading.notes, outcome)}))

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        """Every path; the old ones are the same under many names."""
        old = {path: {"post": posthog_pages.old(path)} for path in V0_PATHS}
        return old | {V1_PATH: {"post": posthog_pages.new()}}


def _of_form(body: bytes) -> bytes:
    """The JSON within `data=`, plain or in base64; any other body as it is."""
    if not body.startswith(_FORM):
        return body
    value = unquote_to_bytes(body[len(_FORM) :].split(b"&")[0].replace(b"+", b" ")).strip()
    if value[:1] in (b"{", b"["):
        return value
    try:
        # A plus sign that nobody quoted has become a space above.
        return base64.b64decode(value.replace(b" ", b"+"), validate=True)
    except binascii.Error as error:
        raise parts.no_json(f"data: neither JSON nor base64: {error}") from error


def _taken_apart(body: bytes) -> tuple[Mapping[str, bytes], list[bytes]]:
    """(what the body says beside its events, the events)."""
    if body[:1] == b"[":
        return {}, parts.elements_of(body)
    fields = parts.fields_of(body, "batch", "sent_at", *_KEYS)
    if "batch" in fields:
        return fields, parts.elements_of(fields["batch"])
    return fields, [body]


def _key_of(fields: Mapping[str, bytes]) -> str | None:
    return next((key for name in _KEYS if (key := parts.text_of(fields.get(name)))), None)


def _first_key(raws: Sequence[bytes]) -> str | None:
    """The key that the first event names."""
    found = (parts.text_in(raw, name) for raw in raws[:1] for name in _KEYS)
    return next((key for key in found if key), None)


def _first_key_of_properties(raws: Sequence[bytes]) -> str | None:
    """The key among the properties of the first event, where old browsers have it."""
    try:
        for raw in raws[:1]:
            properties = parts.fields_of(raw, "properties").get("properties", b"{}")
            return _key_of(parts.fields_of(properties, *_KEYS))
    except ApiError:
        pass
    return None


def _sent_at(fields: Mapping[str, bytes], incoming: Incoming) -> Any:
    """When the request was sent, as text or milliseconds: in the body, a header or the query."""
    if text := parts.text_of(fields.get("sent_at")):
        return text
    if header := incoming.headers.get(_SENT_HEADER):
        return header.decode("latin-1")
    try:
        found = parse_qs(incoming.query.decode("latin-1"), max_num_fields=_MAX_PARAMETERS).get("_", [""])[0]
    except ValueError:
        return None
    return int(found) if found.isascii() and found.isdigit() and len(found) <= 16 else None


def _translate(raw: bytes, *, envelope: _Envelope) -> bytes:
    fields = _decode_fields(raw)
    # It changes from try to try, where a body is one event.
    fields.pop("sent_at", None)
    properties = _properties(fields)
    _take_keys(fields, properties, envelope)
    event_id = translation.identifier(_take(fields, "uuid"), "uuid") or _hash(fields, properties)
    name = _take(fields, "event")
    if not isinstance(name, str) or not name:
        raise BadEvent("missing_field" if name in (None, "") else "invalid_field", "event: expected a name")
    customer = translation.identifier(
        _take(fields, "distinct_id") or _value(properties.get("distinct_id")), "distinct_id"
    )
    if not customer:
        raise BadEvent("missing_field", "distinct_id: is required")
    occurred_at = _take(fields, "timestamp") or _time_of(event_id)
    for moved in _MOVED:
        if moved in fields:
            properties.setdefault(moved, fields.pop(moved))
    client = {
        **{field: value for field, value in fields.items() if field != "batch"},
        "dialect": "posthog",
        "event": name,
        "sent_at": envelope.sent_at,
        "clock_skew_ms": translation.clock_skew_ms(envelope.sent_at, envelope.received_at_ms),
    }
    return translation.native_event(
        event_id=event_id,
        event_type=_TYPES.get(name) or naming.event_type(name),
        customer_id=customer,
        occurred_at=translation.occurred_at(occurred_at, "timestamp"),
        device_id=translation.identifier(_value(properties.get("$device_id")), "$device_id"),
        properties=msgspec.json.encode(properties),
        client=client,
    )


def _take_keys(fields: dict[str, Any], properties: dict[str, Any], envelope: _Envelope) -> None:
    """Out of the event, since a key has no business in an archive; BadEvent where it is another's."""
    said = _key_of(fields)
    if said is None and envelope.is_key_in_properties:
        said = _key_of(properties)
    if said not in (None, envelope.key):
        raise BadEvent("invalid_field", "api_key: not that of the request; send one key a request")
    for name in _KEYS:
        fields.pop(name, None)
        text = parts.text_of(properties.get(name))
        if text and text in (envelope.key, envelope.used):
            del properties[name]


def _hash(fields: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """The id of an event without one. Its `offset` is how long ago it was, at each try."""
    said = {name: value for name, value in fields.items() if name != "offset"}
    return translation.digest(said | {"properties": msgspec.Raw(msgspec.json.encode(properties))})


def _properties(fields: dict[str, msgspec.Raw]) -> dict[str, msgspec.Raw]:
    raw = bytes(fields.pop("properties", b"")).strip()
    if raw in (b"", b"null"):
        return {}
    if raw[:1] != b"{":
        raise BadEvent("invalid_field", "properties: expected a JSON object")
    return _decode_fields(raw)


def _take(fields: dict[str, msgspec.Raw], name: str) -> Any:
    return _value(fields.pop(name, None))


def _value(raw: msgspec.Raw | None) -> Any:
    return None if raw is None else msgspec.json.decode(raw)


def _time_of(event_id: Any) -> int | None:
    """The milliseconds that a version 7 UUID begins with: browsers send no time, or one of each try."""
    try:
        uuid = UUID(event_id)
    except (ValueError, TypeError, AttributeError):
        return None
    return uuid.int >> 80 if uuid.version == 7 else None


def _results(raws: Sequence[bytes], outcome: Outcome) -> dict[str, dict[str, str]]:
    """By uuid. Two events of one uuid are `drop` where either is."""
    ids = [parts.text_in(raw, "uuid") for raw in raws]
    results = {name: {"result": "ok"} for name in ids if name}
    for rejection in outcome.rejected:
        if name := ids[rejection.index]:
            results[name] = {"result": "drop", "details": f"{rejection.error}: {rejection.detail}"}
    return results
