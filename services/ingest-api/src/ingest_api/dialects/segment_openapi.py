"""The OpenAPI description of Segment's routes. The schemas say what is read; other fields are taken too."""

from collections.abc import Mapping
from typing import Any

from ingest_api.dialects import pages

_DESCRIPTION = (
    "At most 1,000 messages of 32 KiB and 1 MiB in all, plain, gzip or zstd; the Content-Type does not"
    " matter. The key travels in `Authorization` or as `writeKey`. 200 means durable. Sending the same"
    " again is safe: an event counts once, however often it comes."
)

_ID = {"type": ["string", "integer", "null"], "maxLength": 128}
_TIME = {
    "type": ["string", "integer", "null"],
    "description": "RFC 3339 with an offset, or milliseconds since 1970",
    "examples": ["2026-11-20T18:04:05.123Z"],
}
_OBJECT = {"type": ["object", "null"], "additionalProperties": True}

_COMMON: dict[str, Any] = {
    "messageId": _ID
    | {"description": "The event's id; without one, the SHA-256 of the message but `sentAt` and the key"},
    "userId": _ID | {"description": "Becomes `customer_id`; `anonymousId` stands in for it"},
    "anonymousId": _ID | {"description": "Becomes `device_id` where `context.device.id` is not given"},
    "timestamp": _TIME | {"description": "Becomes `occurred_at` as it is"},
    "originalTimestamp": _TIME | {"description": "Read where `timestamp` is missing"},
    "sentAt": _TIME | {"description": "Gives `data._client.clock_skew_ms`"},
    "context": _OBJECT | {"description": "Kept in `data._client.context`"},
    "writeKey": {"type": ["string", "null"], "description": "The key, without `Authorization`"},
}
_OWN: dict[str, dict[str, Any]] = {
    "track": {
        "event": {"type": "string", "minLength": 1, "description": "`Content Viewed` is `content.viewed`"},
        "properties": _OBJECT,
    },
    "identify": {"traits": _OBJECT},
    "page": {
        "name": {"type": ["string", "null"]},
        "category": {"type": ["string", "null"]},
        "properties": _OBJECT,
    },
    "screen": {
        "name": {"type": ["string", "null"]},
        "category": {"type": ["string", "null"]},
        "properties": _OBJECT,
    },
    "group": {"groupId": _ID, "traits": _OBJECT},
    "alias": {"previousId": _ID, "traits": _OBJECT},
}
_WHO_AND_WHEN = {
    "messageId": "018f6c1e-7a3b-7c64-9d6e-0c2f6d8a4b11",
    "userId": "fam-42",
    "anonymousId": "ipad-1",
    "timestamp": "2026-11-20T18:04:05.123Z",
}
_EXAMPLES: dict[str, dict[str, Any]] = {
    "track": {"event": "Content Viewed", "properties": {"content_id": "story-7"}},
    "identify": {"traits": {"plan": "family"}},
    "page": {"name": "Stories", "properties": {"path": "/stories"}},
    "screen": {"name": "Stories", "properties": {"tab": "new"}},
    "group": {"groupId": "school-3", "traits": {"name": "Hill School"}},
    "alias": {"previousId": "anon-1"},
}


def call(name: str, meant: str) -> Mapping[str, Any]:
    """Path item of one call: `meant` is its full name, `name` the last part of the path."""
    schema = _message(meant)
    summary = f"Send a {meant} call" if name == meant else f"Send a {meant} call, as browsers and phones do"
    return {"post": _operation(name, summary, schema, _WHO_AND_WHEN | _EXAMPLES[meant])}


def batch(name: str) -> Mapping[str, Any]:
    """Path item of a batch."""
    kinds = [_message(kind, with_type=True) for kind in _OWN]
    schema = {
        "type": "object",
        "required": ["batch"],
        "properties": {
            "batch": pages.batch_of({"oneOf": kinds}),
            "context": _OBJECT | {"description": "Of the messages that have none"},
            "sentAt": _TIME,
            "writeKey": _COMMON["writeKey"],
        },
    }
    example = {
        "batch": [
            {"type": kind} | _WHO_AND_WHEN | {"messageId": f"{kind}-1"} | own
            for kind, own in _EXAMPLES.items()
        ],
        "sentAt": "2026-11-20T18:04:06.000Z",
    }
    return {"post": _operation(name, "Send calls of Segment's or RudderStack's clients", schema, example)}


def _message(kind: str, *, with_type: bool = False) -> dict[str, Any]:
    required = ["event"] if kind == "track" else []
    properties = _COMMON | _OWN[kind]
    if with_type:
        required, properties = ["type", *required], {"type": {"const": kind}} | properties
    times = [{"required": ["timestamp"]}, {"required": ["originalTimestamp"]}]
    who = [{"required": ["userId"]}, {"required": ["anonymousId"]}]
    schema = {"type": "object", "properties": properties, "allOf": [{"anyOf": times}, {"anyOf": who}]}
    return schema | ({"required": required} if required else {})


def _operation(name: str, summary: str, schema: Mapping[str, Any], example: Any) -> dict[str, Any]:
    media = {"schema": schema, "examples": pages.named(call=example)}
    encoding = {"name": "Content-Encoding", "in": "header", "schema": {"enum": ["gzip", "identity", "zstd"]}}
    described = pages.operation(
        name=f"segment_{name}",
        summary=summary,
        description=_DESCRIPTION,
        parameters=[encoding],
        content={"application/json": media, "text/plain": media},
        success=pages.json_answer(
            "Durable; `rejected` names what is wrong with each message that does not count",
            {
                "success": {"const": True},
                "accepted": {"type": "integer", "minimum": 0},
                "rejected": {"type": "array", "items": {"$ref": "#/components/schemas/Rejection"}},
            },
            ["success", "accepted", "rejected"],
            all_taken={"success": True, "accepted": 6, "rejected": []},
            one_rejected={"success": True, "accepted": 1, "rejected": [pages.NUMBERED_REJECTION]},
        ),
    )
    described["responses"] |= {
        "413": pages.error("Over 1 MiB, or over 1,000 messages; send fewer at once"),
        "415": pages.error("The body may be plain, gzip or zstd"),
        "422": pages.error("`batch` is missing or no array"),
    }
    return described
