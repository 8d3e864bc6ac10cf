"""What the OpenAPI page says of PostHog's paths. Pure."""

from typing import Any

from ingest_api.dialects import pages

_ID = {"type": "string", "minLength": 1, "maxLength": 128}
_EVENT = {
    "type": "object",
    "properties": {
        "event": {"type": "string", "minLength": 1, "description": "`$pageview` becomes `page.viewed`"},
        "distinct_id": _ID | {"description": "Customer; may stand in `properties` instead"},
        "uuid": _ID
        | {"description": "The event's id; without one, the hash of the event but `offset` and the key"},
        "timestamp": {
            "type": "string",
            "description": "When it occurred; may be missing where `uuid` is of version 7",
            "examples": ["2026-11-20T18:04:05.123Z"],
        },
        "properties": {
            "type": "object",
            "description": "The top level of `data`; `$device_id` is the device",
            "additionalProperties": True,
        },
    },
    "required": ["event"],
}
_EXAMPLE = {
    "event": "Content Viewed",
    "distinct_id": "fam-42",
    "uuid": "0193b1f6-3c9a-7c64-9d6e-0c2f6d8a4b11",
    "timestamp": "2026-11-20T18:04:05.123Z",
    "properties": {"content_id": "story-7", "$device_id": "ipad-1"},
}
_KEY = "kw_demo_0123456789abcdefghijklmn"
_ENCODING = {
    "name": "Content-Encoding",
    "in": "header",
    "schema": {"type": "string", "enum": ["gzip", "zstd", "identity"]},
}


def old(path: str) -> dict[str, Any]:
    """A path of the old endpoint: all of them are one."""
    sent = {"api_key": {"type": "string"}, "sent_at": {"type": "string"}}
    batch = {
        "type": "object",
        "properties": {"batch": pages.batch_of(_EVENT), **sent},
        "required": ["batch"],
    }
    one = _EVENT | {"properties": {**_EVENT["properties"], **sent}}  # type: ignore[dict-item]
    answer = pages.counted_answer()
    media = answer["content"]["application/json"]
    media["schema"]["properties"]["status"] = {"type": "string", "const": "Ok"}
    for example in media["examples"].values():
        example["value"]["status"] = "Ok"
    return pages.operation(
        name="send_posthog" + path.replace("/", "_"),
        summary="Send events with a PostHog client",
        description=(
            "One event, an array, or a batch; the key is `api_key` of the body, or `token` of the event or"
            " of its properties. 200 means durable."
        ),
        parameters=[_ENCODING],
        content={
            "application/json": {
                "schema": {"anyOf": [batch, one, pages.batch_of(_EVENT)]},
                "examples": pages.named(
                    batch={"api_key": _KEY, "batch": [_EXAMPLE]}, one={"api_key": _KEY, **_EXAMPLE}
                ),
            },
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "properties": {"data": {"type": "string", "description": "The JSON, plain or in base64"}},
                    "required": ["data"],
                }
            },
        },
        success=answer,
    )


def new() -> dict[str, Any]:
    """The endpoint that answers a result for each event."""
    body = {
        "type": "object",
        "properties": {
            "batch": pages.batch_of(_EVENT),
            "created_at": {"type": "string"},
            "historical_migration": {"type": "boolean"},
        },
        "required": ["batch"],
    }
    result = {
        "type": "object",
        "properties": {"result": {"enum": ["ok", "drop"]}, "details": {"type": "string"}},
        "required": ["result"],
    }
    uuid = str(_EXAMPLE["uuid"])
    return pages.operation(
        name="send_posthog_v1",
        summary="Send events with a PostHog client in capture mode v1",
        description="A batch with a Bearer key; the answer has a result for each event's `uuid`.",
        parameters=[_ENCODING],
        content={"application/json": {"schema": body, "examples": pages.named(batch={"batch": [_EXAMPLE]})}},
        success=pages.json_answer(
            "Stored; `drop` names what is wrong with an event that does not count",
            {"results": {"type": "object", "additionalProperties": result}},
            ["results"],
            taken={"results": {uuid: {"result": "ok"}}},
            dropped={
                "results": {uuid: {"result": "drop", "details": "missing_field: distinct_id: is required"}}
            },
        ),
    )
