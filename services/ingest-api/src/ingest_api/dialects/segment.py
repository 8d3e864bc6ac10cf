"""Segment's HTTP tracking API, which RudderStack's clients speak too. Pure.

The same message read twice gives the same event: its id is `messageId`, its time `timestamp`, both as
the client sent them. Answers are 200, since RudderStack's clients take any other success for a failure.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec

from ingest_api.dialects import keys, naming, outcomes, parts, segment_openapi, translation
from ingest_api.dialects.base import Answer, Dialect, Incoming, Outcome, Reading
from ingest_api.errors import ApiError
from ingest_api.judgement import BadEvent

_TYPES = {
    "identify": naming.CUSTOMER_IDENTIFIED,
    "page": naming.PAGE_VIEWED,
    "screen": naming.SCREEN_VIEWED,
    "group": naming.GROUP_JOINED,
    "alias": naming.CUSTOMER_ALIASED,
}
_CALLS = ("track", *_TYPES)
_BATCHES = ("batch", "import", "b")
_SHORT = {call[0]: call for call in _CALLS}
"""What clients in browsers and phones send instead: `/v1/t` for `/v1/track`."""

_KEY = "writeKey"
_NOT_IN_HASH = frozenset(("type", "messageId", "sentAt", _KEY, "context"))
"""Fields that change from try to try, or are said in other words."""

_PREFIX = "/v1/"
_RETRY_AFTER_SECONDS = 1
_EMPTY = msgspec.Raw(b"")


class _Message(msgspec.Struct):
    """One call of a client. What is wrong with a field is said field by field, not by the decoder."""

    type: Any = None
    messageId: Any = None  # noqa: N815 - Segment's names
    userId: Any = None  # noqa: N815
    anonymousId: Any = None  # noqa: N815
    previousId: Any = None  # noqa: N815
    groupId: Any = None  # noqa: N815
    event: Any = None
    name: Any = None
    category: Any = None
    channel: Any = None
    timestamp: Any = None
    originalTimestamp: Any = None  # noqa: N815
    sentAt: Any = None  # noqa: N815
    writeKey: Any = None  # noqa: N815
    context: msgspec.Raw = _EMPTY
    properties: msgspec.Raw = _EMPTY
    traits: msgspec.Raw = _EMPTY


class _Context(msgspec.Struct):
    device: Any = None
    traits: msgspec.Raw = _EMPTY


class _Envelope(msgspec.Struct):
    """What a batch says once for all of its messages."""

    key: str | None = None
    sent_at: Any = None
    context: msgspec.Raw = _EMPTY


_decode_message = msgspec.json.Decoder(_Message).decode
_decode_context = msgspec.json.Decoder(_Context).decode


class Segment(Dialect):
    """Serves `/v1/batch` and one path a call, each also under the short name that browsers use."""

    routes = MappingProxyType({_PREFIX + name: frozenset({"POST"}) for name in (*_BATCHES, *_CALLS, *_SHORT)})
    has_unlabelled_gzip = True

    def read(self, incoming: Incoming) -> Reading:
        """The key and the messages of a body, whatever its Content-Type says."""
        body = incoming.body.strip()
        fields = parts.fields_of(body, "batch", "context", "sentAt", _KEY)
        name = incoming.path.removeprefix(_PREFIX)
        if name in _BATCHES:
            call, messages = None, _batch_of(fields)
        else:
            call, messages = _SHORT.get(name, name), [body]
        key = parts.text_of(fields.get(_KEY)) or _first_key(messages)
        envelope = _Envelope(
            key, parts.text_of(fields.get("sentAt")), msgspec.Raw(fields.get("context", b""))
        )
        translate = partial(_translate, envelope=envelope, call=call, received_at_ms=incoming.received_at_ms)
        items = translation.translate_each(messages, translate)
        return Reading(keys.kept_out(items, keys.of_header(incoming.headers) or key, _KEY), key)

    def answer(self, incoming: Incoming, reading: Reading, outcome: Outcome) -> Answer:
        """200 with what was taken and what was not; nothing that is named is worth sending again."""
        counted = outcomes.counted(reading, outcome, "messageId")
        return Answer(HTTPStatus.OK, msgspec.json.encode({"success": True} | counted))

    def refusal(self, error: ApiError) -> ApiError:
        """503 for 408: RudderStack's client for Python gives up on every 4xx but 429."""
        if error.status != HTTPStatus.REQUEST_TIMEOUT:
            return error
        headers = error.headers | {"Retry-After": str(_RETRY_AFTER_SECONDS)}
        return ApiError(
            HTTPStatus.SERVICE_UNAVAILABLE, error.code, error.message, error.detail, headers=headers
        )

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        """OpenAPI path items of all routes."""
        batches = {_PREFIX + name: segment_openapi.batch(name) for name in _BATCHES}
        calls = {_PREFIX + name: segment_openapi.call(name, name) for name in _CALLS}
        short = {_PREFIX + name: segment_openapi.call(name, call) for name, call in _SHORT.items()}
        return batches | calls | short


def _batch_of(fields: Mapping[str, bytes]) -> list[bytes]:
    raw = fields.get("batch", b"")
    if raw[:1] != b"[":
        problem = "is required" if not raw else "is no array"
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "invalid_request",
            f"batch: {problem}; send an array of messages",
            [{"field": "batch", "problem": problem}],
        )
    return parts.elements_of(raw)


def _first_key(messages: Sequence[bytes]) -> str | None:
    return parts.text_in(messages[0], _KEY) if messages else None


def _translate(raw: bytes, *, envelope: _Envelope, call: str | None, received_at_ms: int) -> bytes:
    """JSON of the native event of one message; BadEvent where it cannot be one."""
    message = _decode_message(raw)
    if message.writeKey not in (None, "", envelope.key):
        raise BadEvent("invalid_field", "writeKey: not that of the request; send one key a request")
    call = call or _call_of(message)
    event_type = _TYPES.get(call) or naming.event_type(_name_of(message))
    anonymous = translation.identifier(message.anonymousId, "anonymousId")
    customer = translation.identifier(message.userId, "userId") or anonymous
    if not customer:
        raise BadEvent("missing_field", "userId: is required, or anonymousId")
    raw_context = message.context or envelope.context
    context = _context_of(raw_context)
    sent_at = message.sentAt or envelope.sent_at
    said = {
        "dialect": "segment",
        "call": call,
        "anonymous_id": anonymous,
        "previous_id": translation.identifier(message.previousId, "previousId"),
        "group_id": translation.identifier(message.groupId, "groupId"),
        "event": message.event,
        "name": message.name,
        "category": message.category,
        "channel": message.channel,
        "sent_at": sent_at,
        "clock_skew_ms": translation.clock_skew_ms(sent_at, received_at_ms),
        "context": raw_context,
    }
    return translation.native_event(
        event_id=translation.identifier(message.messageId, "messageId")
        or translation.digest(_identity(message, call, raw_context)),
        event_type=event_type,
        customer_id=customer,
        occurred_at=translation.occurred_at(message.timestamp or message.originalTimestamp, "timestamp"),
        device_id=_device_id(context) or anonymous,
        properties=_properties_of(call, message, context),
        client=said,
    )


def _identity(message: _Message, call: str, context: msgspec.Raw) -> dict[str, Any]:
    """What makes the event, of a message without an id."""
    said = msgspec.structs.asdict(message)
    return {name: value for name, value in said.items() if name not in _NOT_IN_HASH} | {
        "call": call,
        "context": context,
    }


def _call_of(message: _Message) -> str:
    if message.type in (None, ""):
        raise BadEvent("missing_field", f"type: is required, one of {', '.join(_CALLS)}")
    if message.type not in _CALLS:
        raise BadEvent("invalid_field", f"type: expected one of {', '.join(_CALLS)}")
    return str(message.type)


def _name_of(message: _Message) -> str:
    if message.event in (None, ""):
        raise BadEvent("missing_field", "event: is required in a track call")
    if not isinstance(message.event, str):
        raise BadEvent("invalid_field", "event: expected a string")
    return message.event


def _context_of(raw: msgspec.Raw) -> _Context:
    if bytes(raw) in (b"", b"null"):
        return _Context()
    if bytes(raw)[:1] != b"{":
        raise BadEvent("invalid_field", "context: expected a JSON object")
    return _decode_context(raw)


def _device_id(context: _Context) -> str:
    device = context.device
    return translation.identifier(device.get("id"), "context.device.id") if isinstance(device, dict) else ""


def _properties_of(call: str, message: _Message, context: _Context) -> msgspec.Raw:
    if call not in ("identify", "group", "alias"):
        return message.properties
    # RudderStack's clients for Python put the traits of a person into the context alone.
    return message.traits or (context.traits if call == "identify" else _EMPTY)
