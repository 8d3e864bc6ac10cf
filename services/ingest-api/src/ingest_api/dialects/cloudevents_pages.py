"""What the OpenAPI page says of CloudEvents. Pure."""

from typing import Any

from ingest_api.dialects import pages

_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "specversion": {"type": "string", "const": "1.0"},
    "id": {"type": "string", "minLength": 1, "maxLength": 128},
    "source": {"type": "string", "minLength": 1, "description": "Kept in `data._client`"},
    "type": {"type": "string", "minLength": 1, "description": "`content.viewed` stays as it is"},
    "time": {"type": "string", "format": "date-time", "description": "Required here"},
    "subject": {"type": "string", "description": "The customer, where there is no `customerid`"},
    "customerid": {"type": "string", "maxLength": 128, "description": "Extension: the customer"},
    "deviceid": {"type": "string", "maxLength": 128, "description": "Extension: the device"},
    "personid": {"type": "string", "maxLength": 128, "description": "Extension: the person"},
    "dataschema": {"type": "string", "description": "Kept in `data._client`"},
}
_REQUIRED = ["specversion", "id", "source", "type", "time"]
_EXAMPLE = {
    "specversion": "1.0",
    "id": "018f6c1e-7a3b-7c64-9d6e-0c2f6d8a4b11",
    "source": "/apps/ipad",
    "type": "content.viewed",
    "time": "2026-11-20T18:04:05.123Z",
    "customerid": "fam-42",
    "deviceid": "ipad-1",
}
_DATA = {"content_id": "story-7"}
_EVENT = {
    "type": "object",
    "properties": {
        **_ATTRIBUTES,
        "datacontenttype": {"type": "string"},
        "data": {"description": "An object is the top level of `data`; anything else is `data.value`"},
        "data_base64": {"type": "string", "contentEncoding": "base64", "description": "Kept as it is"},
    },
    "additionalProperties": True,
    "required": _REQUIRED,
}


def post() -> dict[str, Any]:
    """The path in its three modes."""
    headers = [
        {
            "name": f"ce-{name}",
            "in": "header",
            "required": False,
            "description": f"Binary mode: {schema.get('description', 'attribute')}",
            "schema": schema,
        }
        for name, schema in _ATTRIBUTES.items()
    ]
    one = {"schema": _EVENT, "examples": pages.named(event=_EXAMPLE | {"data": _DATA})}
    many = {
        "schema": pages.batch_of(_EVENT),
        "examples": pages.named(events=[_EXAMPLE | {"data": _DATA}]),
    }
    described = pages.operation(
        name="send_cloudevents",
        summary="Send CloudEvents",
        description=(
            "CloudEvents 1.0 in binary mode (attributes as `ce-` headers, percent-encoded; the body is the"
            " data), structured or batched mode. 200 means durable."
        ),
        parameters=headers,
        content={
            "application/cloudevents+json": one,
            "application/cloudevents-batch+json": many,
            "application/json": {"schema": {"type": "object"}, "examples": pages.named(binary=_DATA)},
        },
        success=pages.counted_answer(),
    )
    described["responses"]["415"] = pages.error("CloudEvents in a format that is no JSON")
    return described
