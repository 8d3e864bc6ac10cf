"""What happened in an event of Snowplow's: its type and its data. Pure.

Each function takes what it has used out of the event's parameters, so that what is left can be kept.
"""

import base64
import binascii
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from ingest_api.dialects.naming import PAGE_VIEWED, SCREEN_VIEWED, event_type
from ingest_api.judgement import UNDECODABLE, BadEvent

_PAGE = {"url": "url", "page": "title", "refr": "referrer"}
_EVENTS: Mapping[str, tuple[str, Mapping[str, str]]] = MappingProxyType(
    {
        "pv": (PAGE_VIEWED, _PAGE),
        "pp": (
            "page.pinged",
            _PAGE | {"pp_mix": "min_x", "pp_max": "max_x", "pp_miy": "min_y", "pp_may": "max_y"},
        ),
        "se": (
            "",
            {
                "se_ca": "category",
                "se_ac": "action",
                "se_la": "label",
                "se_pr": "property",
                "se_va": "value",
            },
        ),
        "tr": (
            "transaction.recorded",
            {
                "tr_id": "order_id",
                "tr_af": "affiliation",
                "tr_tt": "total",
                "tr_tx": "tax",
                "tr_sh": "shipping",
                "tr_ci": "city",
                "tr_st": "state",
                "tr_co": "country",
                "tr_cu": "currency",
            },
        ),
        "ti": (
            "transaction_item.recorded",
            {
                "ti_id": "order_id",
                "ti_sk": "sku",
                "ti_nm": "name",
                "ti_ca": "category",
                "ti_pr": "price",
                "ti_qu": "quantity",
                "ti_cu": "currency",
            },
        ),
    }
)
"""Of each kind of event but the self-describing: its type, and its parameters' names in `data`."""

_NUMBERS = frozenset(
    ("pp_mix", "pp_max", "pp_miy", "pp_may", "se_va", "tr_tt", "tr_tx", "tr_sh", "ti_pr", "ti_qu")
)
_PACKED = (("ue_px", "ue_pr"), ("cx", "co"))
"""Parameters in base64, each with its plain twin."""

_OWN_VENDOR = "com.snowplowanalytics."
_OWN_NAMES = {"screen_view": SCREEN_VIEWED, "link_click": "link.clicked", "page_ping": "page.pinged"}
_SCHEMA = re.compile(r"iglu:(?P<vendor>[^/]+)/(?P<name>[^/]+)/[^/]+/[^/]+")


class _SelfDescribing(msgspec.Struct):
    schema: str
    data: msgspec.Raw


class _Envelope(msgspec.Struct):
    data: _SelfDescribing


class _Contexts(msgspec.Struct):
    data: list[msgspec.Raw]


_decode_parameters = msgspec.json.Decoder(dict[str, Any]).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_contexts = msgspec.json.Decoder(_Contexts).decode


def content_of(parameters: dict[str, str]) -> tuple[str, bytes, str]:
    """(type, properties as JSON, schema or nothing) of an event; BadEvent where it cannot be told."""
    kind = parameters.pop("e", "")
    if kind == "ue":
        return _self_described(parameters)
    if kind not in _EVENTS:
        known = ", ".join((*_EVENTS, "ue"))
        raise BadEvent("invalid_field" if kind else "missing_field", f"e: expected one of {known}")
    name, fields = _EVENTS[kind]
    found = {new: (old, parameters.pop(old)) for old, new in fields.items() if old in parameters}
    properties = {new: _number(text) if old in _NUMBERS else text for new, (old, text) in found.items()}
    if kind == "se":
        if not properties.get("category") or not properties.get("action"):
            raise BadEvent("missing_field", "se_ca: is required, and so is se_ac")
        name = event_type(f"{properties['category']} {properties['action']}")
    return name, msgspec.json.encode(properties), ""


def _self_described(parameters: dict[str, str]) -> tuple[str, bytes, str]:
    field, raw = _json_of(parameters, *_PACKED[0])
    if raw is None:
        raise BadEvent("missing_field", "ue_px: is required, or ue_pr")
    try:
        inner = _decode_envelope(raw).data
    except UNDECODABLE as error:
        raise BadEvent("invalid_field", f"{field}: no self-describing JSON: {error}") from error
    schema = _SCHEMA.fullmatch(inner.schema)
    if schema is None:
        raise BadEvent("invalid_field", f"{field}: the schema is not like iglu:vendor/name/jsonschema/1-0-0")
    own = _OWN_NAMES.get(schema["name"]) if schema["vendor"].startswith(_OWN_VENDOR) else None
    return own or event_type(schema["name"]), bytes(inner.data), inner.schema


def contexts_of(parameters: dict[str, str]) -> list[msgspec.Raw]:
    """The event's contexts, each a self-describing JSON; BadEvent where there are some and they are none."""
    field, raw = _json_of(parameters, *_PACKED[1])
    try:
        return _decode_contexts(raw).data if raw is not None else []
    except UNDECODABLE as error:
        raise BadEvent("invalid_field", f"{field}: no array of contexts: {error}") from error


def readable(raw: bytes) -> bytes:
    """An event's parameters as JSON without base64 and without the key: what privacy switches take out
    must be found in the quarantine too. As it came where it is no event at all.
    """
    try:
        parameters = _decode_parameters(raw)
    except UNDECODABLE:
        return raw
    parameters.pop("aid", None)
    for encoded, plain in _PACKED:
        try:
            _, found = _json_of(dict(parameters), encoded, plain)
            value = None if found is None else msgspec.json.decode(found)
        except (*UNDECODABLE, BadEvent, AttributeError, TypeError):
            continue
        if value is not None:
            parameters.pop(encoded, None)
            parameters[plain] = value
    return msgspec.json.encode(parameters)


def _json_of(parameters: dict[str, Any], encoded: str, plain: str) -> tuple[str, bytes | None]:
    """(name, JSON) of the parameter that is there, of one in base64 and its plain twin."""
    text = parameters.pop(plain, None)
    packed = parameters.pop(encoded, None)
    if not packed:
        return plain, text.encode() if text else None
    try:
        # Either alphabet, and padding or none: trackers differ.
        packed = packed.replace("-", "+").replace("_", "/").rstrip("=")
        raw = base64.b64decode(packed + "=" * (-len(packed) % 4), validate=True)
        raw.decode()
    except (binascii.Error, ValueError) as error:
        raise BadEvent("invalid_field", f"{encoded}: no base64 of JSON: {error}") from error
    return encoded, raw


def _number(text: str) -> int | float | str:
    """The number that a text says, or the text where it says none."""
    try:
        value = float(text)
    except ValueError:
        return text
    if not math.isfinite(value):
        return text
    return int(value) if value.is_integer() and abs(value) < 2**53 else value
