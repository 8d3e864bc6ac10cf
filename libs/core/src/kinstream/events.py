"""What an event is, once it has been accepted."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import msgspec

CONTENT_VIEWED = "content.viewed"
CONTENT_LIKED = "content.liked"
CONTENT_UNLIKED = "content.unliked"
LOCATION_UPDATED = "location.updated"
CONTENT_HIDDEN = "content.hidden"
CONTENT_DISLIKED = "content.disliked"
SESSION_CLOSED = "session.closed"
RECOMMENDATION_EXPOSED = "recommendation.exposed"

OTHER = "(other)"
"""Stands in a counter for the names (event types, say) beyond those that it tells apart. No type is so."""
RESERVED_TYPES = frozenset({SESSION_CLOSED, RECOMMENDATION_EXPOSED})
"""Types of what Kinstream says itself; from a client they are refused."""

PASSIVE_TYPES = frozenset({LOCATION_UPDATED})
"""Types that a device sends without anybody doing anything; they never begin or extend a session."""

Identifier = Annotated[str, msgspec.Meta(min_length=1, max_length=128)]
Text = Annotated[str, msgspec.Meta(max_length=128)]
EventType = Annotated[str, msgspec.Meta(max_length=64, pattern=r"^[a-z][a-z0-9_]*(\.[a-z0-9_]+)+$(?!\n)")]

Moment = Annotated[datetime, msgspec.Meta(tz=True)]
"""An instant, read from RFC 3339 with an offset."""

EMPTY_DATA = msgspec.Raw(b"{}")


class ClientEvent(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A native event as a client sends it. `data` stays undecoded bytes."""

    id: Identifier
    type: EventType
    customer_id: Identifier
    occurred_at: str
    device_id: Text = ""
    person_id: Text = ""
    data: msgspec.Raw = EMPTY_DATA


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An accepted event as it travels in a chunk.

    `occurred_at` is the client's own text, never rewritten: with the key and the id it is the event's
    identity. `occurred_at_ms` is the same instant in milliseconds since 1970, `received_at_ms` the
    server's clock when it arrived. `counted` is False for an event that is archived but too early or
    too late to be counted.
    """

    id: str
    type: str
    customer_id: str
    occurred_at: str
    occurred_at_ms: int = 0
    received_at_ms: int = 0
    device_id: str = ""
    person_id: str = ""
    data: msgspec.Raw = EMPTY_DATA
    counted: bool = True


class ContentData(msgspec.Struct, frozen=True):
    """Payload of the events whose type begins with `content.` and is named above."""

    content_id: Identifier


class LocationData(msgspec.Struct, frozen=True):
    """Payload of `location.updated`: degrees (WGS 84), metres, metres a second."""

    person_id: Identifier
    latitude: Annotated[float, msgspec.Meta(ge=-90, le=90)]
    longitude: Annotated[float, msgspec.Meta(ge=-180, le=180)]
    accuracy_m: Annotated[float, msgspec.Meta(ge=0)]
    speed_mps: Annotated[float, msgspec.Meta(ge=0)] | None = None


PAYLOADS: dict[str, type[msgspec.Struct]] = {
    CONTENT_VIEWED: ContentData,
    CONTENT_LIKED: ContentData,
    CONTENT_UNLIKED: ContentData,
    CONTENT_HIDDEN: ContentData,
    CONTENT_DISLIKED: ContentData,
    LOCATION_UPDATED: LocationData,
}
"""Types whose payload is checked when they come in, so that the sender hears of a mistake."""


class ActivityData(msgspec.Struct, frozen=True):
    """What sessions read of any payload; every other field is somebody else's."""

    activity: Any = None
    content_id: Any = None


def parse_time_ms(text: str) -> int:
    """Milliseconds since 1970 of an RFC 3339 time; ValueError where it is none or lacks an offset."""
    if "\\" in text:
        raise ValueError("a time has no backslash")
    try:
        # msgspec, as in a typed event, so that all of Kinstream takes the same texts for times.
        moment = _decode_moment(f'"{text}"')
    except msgspec.MsgspecError as error:
        raise ValueError("it is none, or lacks its offset; end it with Z or, say, +02:00") from error
    # Integer arithmetic: a float of seconds would lose the last millisecond now and then.
    return (moment - _EPOCH) // _MILLISECOND


def format_time_ms(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, as every answer of Kinstream writes a time."""
    seconds, milliseconds = divmod(time_ms, 1000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{milliseconds:03d}Z"


_decode_moment = msgspec.json.Decoder(Moment).decode
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
