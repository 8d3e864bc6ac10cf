"""What the OpenAPI page says of Snowplow's two paths. Pure."""

from typing import Any

from ingest_api.dialects import pages

_TEXTS = {
    "e": "Kind: page view, page ping, structured, self-describing, transaction or its item",
    "aid": "App id: the write key. All events of a request have the same",
    "eid": "The event's id; without one, the hash of all parameters but `stm`",
    "uid": "Customer",
    "duid": "Device, and customer where there is no `uid`",
    "dtm": "When it occurred, in milliseconds since 1970",
    "ttm": "When it truly occurred; before `dtm` where it is given",
    "stm": "When it was sent; gives the clock's skew and never changes the time",
    "url": "Page's address (`pv`, `pp`)",
    "page": "Page's title (`pv`, `pp`)",
    "refr": "Page's referrer (`pv`, `pp`)",
    "se_ca": "Category (`se`)",
    "se_ac": "Action (`se`)",
    "se_la": "Label (`se`)",
    "se_pr": "Property (`se`)",
    "se_va": "Value, a number (`se`)",
    "ue_px": "Self-describing event in base64 (`ue`)",
    "ue_pr": "Self-describing event as JSON (`ue`)",
    "cx": "Contexts in base64",
    "co": "Contexts as JSON",
    "p": "Platform",
    "tv": "Tracker's version",
    "tna": "Tracker's namespace",
}
_KINDS = ["pv", "pp", "se", "ue", "tr", "ti"]
_EVENT = {
    "type": "object",
    "properties": {
        name: {"type": "string", "description": text} | ({"enum": _KINDS} if name == "e" else {})
        for name, text in _TEXTS.items()
    },
    "additionalProperties": {"type": "string"},
    "required": ["e"],
}
_SCHEMA = "iglu:com.snowplowanalytics.snowplow/payload_data/jsonschema/1-0-4"
_CONTENT = (
    '{"schema":"iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0","data":'
    '{"schema":"iglu:org.example/content_viewed/jsonschema/1-0-0","data":{"content_id":"story-7"}}}'
)
_SHARED = {
    "uid": "fam-42",
    "duid": "ipad-1",
    "dtm": "1795197845123",
    "aid": "kw_demo_0123456789abcdefghijklmn",
}
_DESCRIBED = {"e": "ue", "ue_pr": _CONTENT, "eid": "0b6d1f0c-6a4f-4d0e-9d7b-4b9f2f1f6f11", **_SHARED}
_VIEW = {
    "e": "pv",
    "url": "https://example.org/stories",
    "page": "Stories",
    "eid": "5c1b1c54-93a4-4f4e-8b1d-0d7f7f0d8a52",
    **_SHARED,
}


def post() -> dict[str, Any]:
    """The path that takes many events."""
    body = {
        "type": "object",
        "properties": {"schema": {"type": "string"}, "data": pages.batch_of(_EVENT)},
        "required": ["data"],
    }
    return pages.operation(
        name="send_snowplow_events",
        summary="Send events with a Snowplow tracker",
        description=(
            "Snowplow's `payload_data`. 200 means durable. What sending again cannot mend is always 400,"
            " because trackers send again for ever after 404, 413 or 415."
        ),
        content={
            "application/json": {
                "schema": body,
                "examples": pages.named(events={"schema": _SCHEMA, "data": [_DESCRIBED, _VIEW]}),
            }
        },
        success=pages.counted_answer(),
    )


def get() -> dict[str, Any]:
    """The path that takes one event in its query."""
    parameters = [
        {
            "name": name,
            "in": "query",
            "required": name == "e",
            "description": text,
            "schema": {"type": "string"} | ({"enum": _KINDS} if name == "e" else {}),
            **({"example": _VIEW[name]} if name in _VIEW else {}),
        }
        for name, text in _TEXTS.items()
    ]
    image = {
        "description": "Stored, or kept in the quarantine where something is wrong with it",
        "content": {"image/gif": {"schema": {"type": "string", "format": "binary"}}},
    }
    return pages.operation(
        name="send_snowplow_event",
        summary="Send one event with a Snowplow tracker",
        description="The event as query parameters. 200 means durable; the answer is an image of 1x1.",
        parameters=parameters,
        success=image,
    )
