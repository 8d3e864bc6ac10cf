"""Parts of the OpenAPI path items that dialects describe alike. Pure."""

from collections.abc import Mapping
from typing import Any

from ingest_api.bodies import MAX_EVENTS

_ERROR = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
_REJECTION = {"$ref": "#/components/schemas/Rejection"}

NUMBERED_REJECTION = {
    "index": 1,
    "id": None,
    "error": "missing_field",
    "detail": "timestamp: is required, because an event counts once by its id and its time",
}


def operation(
    *,
    name: str,
    summary: str,
    description: str,
    success: Mapping[str, Any],
    content: Mapping[str, Any] | None = None,
    parameters: list[dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """One operation. `success` is the response 200, `content` the request body's media types."""
    described: dict[str, Any] = {
        "tags": ["events"],
        "operationId": name,
        "summary": summary,
        "description": description,
        "parameters": parameters or [],
        "responses": {
            "200": dict(success),
            "400": error("The request cannot be read as a whole; sending it again does not help"),
            "401": error("The key is missing or not known"),
            "503": error("Nothing was lost: send the same again after `Retry-After` seconds"),
        },
    }
    if content is not None:
        described["requestBody"] = {"required": True, "content": dict(content)}
    return described


def error(description: str) -> dict[str, Any]:
    """A response that is an error."""
    return {"description": description, "content": _ERROR}


def json_answer(
    description: str, properties: Mapping[str, Any], required: list[str], **examples: Any
) -> dict[str, Any]:
    """A response that is a JSON object, with an example for each name in `examples`."""
    schema = {"type": "object", "properties": dict(properties), "required": required}
    return {
        "description": description,
        "content": {"application/json": {"schema": schema, "examples": named(**examples)}},
    }


def counted_answer() -> dict[str, Any]:
    """The answer that counts what was taken and names what was not."""
    return json_answer(
        "Stored; `rejected` names what is wrong with each event that does not count",
        {
            "accepted": {"type": "integer", "minimum": 0},
            "rejected": {"type": "array", "items": _REJECTION},
        },
        ["accepted", "rejected"],
        all_taken={"accepted": 2, "rejected": []},
        one_rejected={"accepted": 1, "rejected": [NUMBERED_REJECTION]},
    )


def batch_of(schema: Mapping[str, Any]) -> dict[str, Any]:
    """An array of as many items as a request may have."""
    return {"type": "array", "items": dict(schema), "maxItems": MAX_EVENTS}


def named(**examples: Any) -> dict[str, Any]:
    """OpenAPI's form of examples."""
    return {name: {"value": value} for name, value in examples.items()}
