"""The fast way through admission: a body in which every event is in order, read in one pass. Pure.

Nothing is decoded twice and nothing is encoded: the events travel on in the client's own bytes. Whatever
is not as it should be is left to the patient way, which says what is wrong with which event; so this one
may be stricter than that, and must never be more lenient.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import attrgetter
from typing import Any, NamedTuple, cast

import msgspec

from ingest_api.bodies import lines_of
from ingest_api.judgement import UNDECODABLE, Window, decoder_with_margin, wrapped
from kinstream.events import PAYLOADS, RESERVED_TYPES, ActivityData, EventType, Identifier, Moment, Text

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MISSING = msgspec.UNSET


def _fields_of_all_payloads() -> list[tuple[str, Any, Any]]:
    """Each field that some type's payload has, checked wherever it occurs, required nowhere yet."""
    types: dict[str, Any] = {}
    payloads: list[type[msgspec.Struct]] = [*PAYLOADS.values(), ActivityData]
    for payload in payloads:
        for field in msgspec.structs.fields(payload):
            types.setdefault(field.name, field.type)
    return [(name, kind | msgspec.UnsetType, _MISSING) for name, kind in types.items()]


_Data: Any = msgspec.defstruct("_Data", _fields_of_all_payloads(), gc=False)


def _getter_of_required(payload: type[msgspec.Struct]) -> Callable[[Any], tuple[Any, ...]]:
    names = [field.name for field in msgspec.structs.fields(payload) if field.required]
    # Twice, since a getter of a single name would give no tuple.
    return cast(Callable[[Any], tuple[Any, ...]], attrgetter(*names, *names))


_required = {name: _getter_of_required(payload) for name, payload in PAYLOADS.items()}


class QuickEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, gc=False):
    """A native event, checked in all but its type."""

    id: Identifier
    type: str
    customer_id: Identifier
    occurred_at: Moment
    device_id: Text = ""
    person_id: Text = ""
    data: _Data = None


class _Envelope(msgspec.Struct, forbid_unknown_fields=True):
    events: msgspec.Raw


_one = decoder_with_margin(QuickEvent)
_many = decoder_with_margin(list[QuickEvent])
_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Quick(NamedTuple):
    """Events in order, their JSON with commas between them, and their types."""

    events: Sequence[QuickEvent]
    text: bytes
    types: set[str]


def read(body: bytes) -> Quick | None:
    """The body's events, or None where one of them is not in order. `body` is stripped."""
    try:
        if not body.isascii():
            body.decode()
        events, text = _events(body)
    except UNDECODABLE:
        return None
    types = {event.type for event in events}
    return Quick(events, text, types) if all(map(_is_type, types)) and _are_whole(events) else None


def in_time(events: Sequence[QuickEvent], now_ms: int, retention_ms: int) -> bool:
    """Whether all of them surely count by their time of occurrence."""
    times = [event.occurred_at for event in events]
    earliest, latest = _window(now_ms // 1000, retention_ms)
    return earliest <= min(times) and max(times) <= latest


@lru_cache(maxsize=4)
def _window(now_seconds: int, retention_ms: int) -> tuple[datetime, datetime]:
    """What lies in the window for all of this second: worked out once for all its requests."""
    earliest_ms = Window.at(now_seconds * 1000 + 999, retention_ms).earliest_ms
    latest_ms = Window.at(now_seconds * 1000, retention_ms).latest_ms
    return _EPOCH + timedelta(milliseconds=earliest_ms), _EPOCH + timedelta(milliseconds=latest_ms)


def elements(text: bytes) -> list[msgspec.Raw]:
    """The bytes of each event of `Quick.text`."""
    return _decode_raw_list(b"[%b]" % text)


def _events(body: bytes) -> tuple[Sequence[QuickEvent], bytes]:
    if body[:1] == b"[":
        return wrapped(_many, body), body[1:-1]
    try:
        return [wrapped(_one, body)], body
    except msgspec.MsgspecError:
        pass
    try:
        array = bytes(_decode_envelope(body).events)
    except msgspec.MsgspecError:
        # Line by line: a decoder of many lines would cut where the grammar does, not where lines end.
        lines = lines_of(body)
        return [wrapped(_one, line) for line in lines], b",".join(lines)
    return wrapped(_many, array), array[1:-1]


def _are_whole(events: Sequence[QuickEvent]) -> bool:
    for event in events:
        required = _required.get(event.type)
        if required and (event.data is None or _MISSING in required(event.data)):
            return False
    return True


@lru_cache(maxsize=4096)
def _is_type(text: str) -> bool:
    try:
        msgspec.convert(text, EventType)
    except msgspec.ValidationError:
        return False
    return text not in RESERVED_TYPES
