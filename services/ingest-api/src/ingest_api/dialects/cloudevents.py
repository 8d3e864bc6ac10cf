"""CloudEvents 1.0 over HTTP: binary, structured and batched mode. Pure.

A time is required here, which CloudEvents leaves open. The extensions `customerid`, `deviceid` and
`personid` say whose event it is; without `customerid` it is the subject's.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote_to_bytes

import msgspec

from ingest_api.admission import Item, Refused
from ingest_api.dialects import cloudevents_pages, parts, translation
from ingest_api.dialects.base import Answer, Dialect, Incoming, Outcome, Reading
from ingest_api.dialects.naming import event_type
from ingest_api.dialects.outcomes import counted
from ingest_api.errors import ApiError
from ingest_api.judgement import UNDECODABLE, BadEvent

PATH = "/v1/cloudevents"

_PREFIX = b"ce-"
_FORMAT = "application/cloudevents"
_ONE, _MANY = "application/cloudevents+json", "application/cloudevents-batch+json"
_JSON = re.compile(r"(application|text)/([a-z0-9.+-]+\+)?json")
_QUOTED = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_ESCAPE = re.compile(rb"\\(.)", re.DOTALL)
_NATIVE = ("id", "type", "time", "specversion", "customerid", "deviceid", "personid")
"""Attributes that the native event has its own fields for."""

_READ = (*_NATIVE, "source", "subject")
_PAYLOAD = ("data", "data_base64")

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class CloudEvents(Dialect):
    """CloudEvents of any source. Sent again, an event is counted once by its `id` and its `time`."""

    routes = MappingProxyType({PATH: frozenset({"POST"})})

    def read(self, incoming: Incoming) -> Reading:
        """The event of headers and body, or the events of the body; the key is in `Authorization`."""
        media = _media_type(incoming.headers)
        if media.startswith(_FORMAT) and media not in (_ONE, _MANY):
            raise _not_json(media)
        body = incoming.body.strip()
        if media not in (_ONE, _MANY) and any(name.startswith(_PREFIX) for name in incoming.headers):
            return Reading([_binary(incoming.headers, incoming.body)])
        if media == _MANY or (media != _ONE and body[:1] == b"["):
            raws = parts.elements_of(body)
        else:
            parts.fields_of(body)
            raws = [body]
        return Reading(translation.translate_each(raws, _translate))

    def answer(self, incoming: Incoming, reading: Reading, outcome: Outcome) -> Answer:
        """200, with what is wrong with each event that does not count."""
        return Answer(200, msgspec.json.encode(counted(reading, outcome, "id")))

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        """The one path."""
        return {PATH: {"post": cloudevents_pages.post()}}


def _media_type(headers: Mapping[bytes, bytes]) -> str:
    return headers.get(b"content-type", b"").decode("latin-1").split(";")[0].strip().lower()


def _not_json(media: str) -> ApiError:
    return ApiError(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        "unsupported_media_type",
        f"CloudEvents are read in JSON: send {_ONE} or {_MANY}, or attributes as ce- headers",
        {"content_type": media[:100]},
    )


def _binary(headers: Mapping[bytes, bytes], body: bytes) -> Item:
    """The event of a request in binary mode, read as the structured event that it stands for."""
    attributes: dict[str, Any] = {
        name[len(_PREFIX) :].decode("latin-1"): _header(value)
        for name, value in headers.items()
        if name.startswith(_PREFIX)
    }
    for reserved in _PAYLOAD:
        attributes.pop(reserved, None)
    media = _media_type(headers)
    if content_type := headers.get(b"content-type"):
        attributes["datacontenttype"] = content_type.decode("latin-1")
    payload = _payload(media, body)
    raw = msgspec.json.encode(attributes | payload)
    if _JSON.fullmatch(media) and "data_base64" in payload:
        # What calls itself JSON and is none is kept for mending, and not counted.
        return Refused(raw, BadEvent("invalid_json", "data: the body is no JSON, as its Content-Type says"))
    [item] = translation.translate_each([raw], _translate)
    return item


def _header(value: bytes) -> str:
    """An attribute's value: freed of quotes, then percent-decoded once."""
    if _QUOTED.fullmatch(value):
        value = _ESCAPE.sub(rb"\1", value[1:-1])
    plain = unquote_to_bytes(value)
    try:
        return plain.decode()
    except UnicodeDecodeError:
        return plain.decode("latin-1")


def _payload(media: str, body: bytes) -> dict[str, Any]:
    if not body:
        return {}
    if not media or _JSON.fullmatch(media):
        try:
            body.decode()
            return {"data": msgspec.Raw(msgspec.json.format(body, indent=-1))}
        except UNDECODABLE:
            pass
    elif media.startswith("text/"):
        try:
            return {"data": body.decode()}
        except UnicodeDecodeError:
            pass
    return {"data_base64": base64.b64encode(body).decode()}


def _translate(raw: bytes) -> bytes:
    fields = _decode_fields(raw)
    payload, encoded = fields.pop("data", None), fields.pop("data_base64", None)
    attributes = {name: msgspec.json.decode(fields[name]) for name in _READ if name in fields}
    for name in ("specversion", "id", "source", "type", "time"):
        _require_text(attributes, name)
    if attributes["specversion"] != "1.0":
        raise BadEvent("invalid_field", 'specversion: expected "1.0"')
    customer = attributes.get("customerid") or attributes.get("subject")
    if not customer:
        raise BadEvent("missing_field", "customerid: is required, or subject")
    data = _properties(payload, encoded)
    person = translation.identifier(attributes.get("personid"), "personid") or _person_of(data)
    client = {
        "dialect": "cloudevents",
        **{name: value for name, value in fields.items() if name not in _NATIVE},
    }
    event = {
        "id": attributes["id"],
        "type": event_type(attributes["type"]),
        "customer_id": translation.identifier(customer, "customerid"),
        "occurred_at": attributes["time"],
        "device_id": translation.identifier(attributes.get("deviceid"), "deviceid"),
        "person_id": person,
        "data": translation.data_of(data, client),
    }
    return msgspec.json.encode(event)


def _require_text(attributes: Mapping[str, Any], name: str) -> None:
    value = attributes.get(name)
    if value is None or value == "":
        why = ", because an event counts once by its id and its time" if name == "time" else ""
        raise BadEvent("missing_field", f"{name}: is required{why}")
    if not isinstance(value, str):
        raise BadEvent("invalid_field", f"{name}: expected a string")


def _properties(payload: msgspec.Raw | None, encoded: msgspec.Raw | None) -> bytes:
    """The data as an object: as it is where it is one, else under `value` or `data_base64`."""
    raw = bytes(payload or b"null").strip()
    packed = None if encoded is None else msgspec.json.decode(encoded)
    if packed is None:
        if raw == b"null":
            return b"{}"
        return raw if raw[:1] == b"{" else b'{"value":%b}' % raw
    if raw != b"null":
        raise BadEvent("invalid_field", "data_base64: not beside data")
    if not isinstance(packed, str):
        raise BadEvent("invalid_field", "data_base64: expected a string")
    try:
        base64.b64decode(packed, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadEvent("invalid_field", f"data_base64: {error}") from error
    return msgspec.json.encode({"data_base64": packed})


def _person_of(data: bytes) -> str:
    found = parts.text_of(_decode_fields(data).get("person_id"))
    return found or ""
