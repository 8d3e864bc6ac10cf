"""The OpenAPI page: FastAPI's own, with what it cannot know added: the sending endpoint and the keys."""

from collections.abc import Iterable
from typing import Any

import msgspec
from fastapi import FastAPI

from ingest_api.admission import Rejection
from ingest_api.answers import ErrorAnswer
from ingest_api.dialects.base import Dialect
from kinstream.events import ClientEvent

_REFERENCE = "#/components/schemas/{name}"
_ERROR = {"application/json": {"schema": {"$ref": _REFERENCE.format(name="ErrorAnswer")}}}
_KEYS: list[dict[str, list[str]]] = [{"bearer": []}, {"basic": []}]
_SIGNATURE: list[dict[str, list[str]]] = [{"signature": []}]
_SECURITY = {
    "/v1/stream": _KEYS + _SIGNATURE,
    "/v1/media/{media_id}/files/{file_name}": _SIGNATURE,
    "/v1/media/{media_id}/image": _SIGNATURE,
}
"""What opens these, where it is not keys and tokens alone."""

EXAMPLE = {
    "id": "018f6c1e-7a3b-7c64-9d6e-0c2f6d8a4b11",
    "type": "content.viewed",
    "customer_id": "fam-42",
    "device_id": "ipad-1",
    "person_id": "kid-1",
    "occurred_at": "2026-11-20T18:04:05.123Z",
    "data": {"content_id": "story-7"},
}


def _described_event() -> type[msgspec.Struct]:
    """ClientEvent as a schema can say it: `data`, which travels undecoded, is an object."""
    fields: list[Any] = []
    for field in msgspec.structs.fields(ClientEvent):
        if field.name == "data":
            fields.append(("data", dict[str, Any], msgspec.field(default_factory=dict)))
        elif field.required:
            fields.append((field.name, field.type))
        else:
            fields.append((field.name, field.type, field.default))
    return msgspec.defstruct("ClientEvent", fields, forbid_unknown_fields=True, kw_only=True)


class EventsAnswer(msgspec.Struct):
    """How many events count, and what is wrong with the others."""

    accepted: int
    rejected: list[Rejection]


def install(app: FastAPI, dialects: Iterable[Dialect]) -> None:
    """Let `app` describe every endpoint, also those in front of its router."""
    sending = {"/v1/events": {"post": _sending()}}
    for dialect in dialects:
        sending |= {path: dict(item) for path, item in dialect.describe().items()}

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _completed(type(app).openapi(app), sending)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the page


def _completed(page: dict[str, Any], sending: dict[str, Any]) -> dict[str, Any]:
    _, schemas = msgspec.json.schema_components([_described_event(), EventsAnswer], ref_template=_REFERENCE)
    schemas["ClientEvent"]["properties"]["occurred_at"] = {"type": "string", "format": "date-time"}
    schemas["ClientEvent"]["examples"] = [EXAMPLE]
    components = page.setdefault("components", {})
    components["securitySchemes"] = {
        "bearer": {
            "type": "http",
            "scheme": "bearer",
            "description": "Authorization: Bearer <key or OIDC token>",
        },
        "basic": {"type": "http", "scheme": "basic", "description": "The key as user name, no password"},
        "signature": {"type": "apiKey", "in": "query", "name": "signature", "description": "Of a signed URL"},
    }
    known = components.setdefault("schemas", {})
    known |= schemas | {"ErrorAnswer": ErrorAnswer.model_json_schema()}
    # Without them no schema would be left that names FastAPI's own form of errors.
    for unused in ("HTTPValidationError", "ValidationError"):
        known.pop(unused, None)
    for operations in page["paths"].values():
        for operation in operations.values():
            # FastAPI's own form of it; ours stands under `default`.
            operation["responses"].pop("422", None)
    page["paths"] = sending | page["paths"]
    for path, operations in page["paths"].items():
        open_to_all = path in ("/healthz", "/readyz", "/metrics")
        for operation in operations.values():
            operation["security"] = [] if open_to_all else _SECURITY.get(path, _KEYS)
            operation["responses"]["default"] = {"description": "An error", "content": _ERROR}
    return page


def _sending() -> dict[str, Any]:
    event = {"$ref": _REFERENCE.format(name="ClientEvent")}
    events = {"type": "array", "items": event, "maxItems": 1_000}
    envelope = {"type": "object", "properties": {"events": events}, "required": ["events"]}
    return {
        "tags": ["events"],
        "operationId": "send_events",
        "summary": "Send events",
        "description": (
            "One event, an array, an object with `events`, or one event a line; plain, gzip or zstd; at most"
            " 1,000 events of 32 KiB and 1 MiB in all. 202 means durable. Sending the same again is safe:"
            " an event counts once, however often it comes."
        ),
        "parameters": [
            {"name": "Content-Encoding", "in": "header", "schema": {"enum": ["gzip", "zstd", "identity"]}}
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"oneOf": [event, events, envelope]}},
                "application/x-ndjson": {"schema": event},
            },
        },
        "responses": {
            "202": {
                "description": "Stored; `rejected` names what is wrong with each event that does not count",
                "content": {"application/json": {"schema": {"$ref": _REFERENCE.format(name="EventsAnswer")}}},
            },
            "503": {"description": "Send the same again after `Retry-After` seconds", "content": _ERROR},
        },
    }
