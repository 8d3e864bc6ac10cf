"""Snowplow's tracker protocol: POST of `payload_data`, and GET of one event in the query. Pure.

The write key is the app id (`aid`). Snowplow's trackers send again for ever on every status but 2xx and
400, 401, 403, 410 and 422, and nothing behind a request that cannot succeed would ever be sent: what no
repetition mends is 400 here, whatever it is elsewhere.
"""

import base64
import re
from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from ingest_api.admission import Item, Refused
from ingest_api.dialects import keys, parts, snowplow_pages, translation
from ingest_api.dialects.base import Answer, Dialect, Incoming, Outcome, Reading
from ingest_api.dialects.outcomes import counted
from ingest_api.dialects.snowplow_content import content_of, contexts_of, readable
from ingest_api.errors import ApiError
from ingest_api.judgement import UNDECODABLE, BadEvent

POST_PATH = "/com.snowplowanalytics.snowplow/tp2"
GET_PATH = "/i"

_GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
_MAX_PARAMETERS = 200
_FINAL_ELSEWHERE = frozenset({404, 405, 413, 415})
"""What Snowplow's trackers take for a passing trouble, though it is none."""

_TIME = re.compile(r"[0-9]{1,16}")


class _AppId(msgspec.Struct):
    aid: str | None = None


_decode_parameters = msgspec.json.Decoder(dict[str, Any]).decode
_decode_app_id = msgspec.json.Decoder(_AppId).decode


class Snowplow(Dialect):
    """Snowplow's trackers. An event's id is its `eid`: sent again, it is counted once."""

    routes = MappingProxyType({POST_PATH: frozenset({"POST"}), GET_PATH: frozenset({"GET"})})

    def read(self, incoming: Incoming) -> Reading:
        """The events of the body's `data`, or the one event of the query."""
        raws = [_of_query(incoming.query)] if incoming.method == "GET" else _of_body(incoming.body)
        key = _first_app_id(raws)
        # With a key in the header the app ids are what their name says, and may be many.
        only = None if b"authorization" in incoming.headers else key
        translate = partial(_translate, received_at_ms=incoming.received_at_ms, only=only)
        used = keys.of_header(incoming.headers) or key
        items = keys.kept_out(translation.translate_each(raws, translate), used, "aid")
        return Reading([_without_base64(item) for item in items], key)

    def answer(self, incoming: Incoming, reading: Reading, outcome: Outcome) -> Answer:
        """200: an image for GET, and what became of the events for POST."""
        if incoming.method == "GET":
            return Answer(200, _GIF, b"image/gif")
        return Answer(200, msgspec.json.encode(counted(reading, outcome, "eid")))

    def refusal(self, error: ApiError) -> ApiError:
        """400 in place of what trackers would send again for ever without hope."""
        if error.status not in _FINAL_ELSEWHERE:
            return error
        return ApiError(HTTPStatus.BAD_REQUEST, error.code, error.message, error.detail, error.headers)

    def describe(self) -> Mapping[str, Mapping[str, Any]]:
        """The two paths."""
        return {POST_PATH: {"post": snowplow_pages.post()}, GET_PATH: {"get": snowplow_pages.get()}}


def _without_base64(item: Item) -> Item:
    return item._replace(original=readable(item.original)) if isinstance(item, Refused) else item


def _of_query(query: bytes) -> bytes:
    try:
        pairs = parse_qsl(query.decode("latin-1"), errors="replace", max_num_fields=_MAX_PARAMETERS)
    except ValueError as error:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "invalid_request",
            f"the query has more than {_MAX_PARAMETERS} parameters",
        ) from error
    return msgspec.json.encode(dict(pairs))


def _of_body(body: bytes) -> list[bytes]:
    data = parts.fields_of(body, "data").get("data")
    if data is None:
        raise ApiError(HTTPStatus.BAD_REQUEST, "missing_field", "data: is required, an array of events")
    return parts.elements_of(data)


def _first_app_id(raws: Iterable[bytes]) -> str | None:
    for raw in raws:
        try:
            found = _decode_app_id(raw).aid
        except UNDECODABLE:
            continue
        if found:
            return found
    return None


def _translate(raw: bytes, *, received_at_ms: int, only: str | None) -> bytes:
    parameters = {name: _text(name, value) for name, value in _decode_parameters(raw).items()}
    app_id, sent = parameters.pop("aid", ""), parameters.pop("stm", "")
    if only and app_id not in ("", only):
        raise BadEvent("invalid_field", "aid: not that of the request's first event; send apps apart")
    event_id = translation.identifier(parameters.pop("eid", ""), "eid")
    # Without `stm`, which changes from try to try.
    event_id = event_id or translation.digest(parameters)
    user, device = parameters.pop("uid", ""), parameters.pop("duid", "")
    if not user and not device:
        raise BadEvent("missing_field", "uid: is required, or duid where nobody is signed in")
    occurred_at = _occurred_at(parameters)
    contexts = contexts_of(parameters)
    name, properties, schema = content_of(parameters)
    sent_ms = int(sent) if _TIME.fullmatch(sent) else None
    client = {
        "dialect": "snowplow",
        "app_id": "" if only else app_id,
        "schema": schema,
        "contexts": contexts,
        "parameters": parameters,
        "sent_at": sent,
        "clock_skew_ms": translation.clock_skew_ms(sent_ms, received_at_ms),
    }
    return translation.native_event(
        event_id=event_id,
        event_type=name,
        customer_id=translation.identifier(user or device, "uid" if user else "duid"),
        occurred_at=occurred_at,
        device_id=translation.identifier(device, "duid"),
        properties=properties,
        client=client,
    )


def _occurred_at(parameters: dict[str, str]) -> str:
    """The time that the app itself gave, else the one at which the tracker made the event."""
    field = "ttm" if parameters.get("ttm") else "dtm"
    text = parameters.pop(field, "")
    if text and not _TIME.fullmatch(text):
        raise BadEvent("occurred_at_invalid", f"{field}: expected milliseconds since 1970")
    return translation.occurred_at(int(text) if text else None, field)


def _text(name: str, value: Any) -> str:
    """A parameter's value as the text that it is in a query."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, dict | list):
        raise BadEvent("invalid_field", f"{name[:100]}: expected a string")
    return msgspec.json.encode(value).decode()
