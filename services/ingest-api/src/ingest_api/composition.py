"""Answers from what the stores hold. Pure: the clock's reading is handed in."""

import base64
import binascii
from collections.abc import Iterable, Mapping
from functools import partial
from http import HTTPStatus
from typing import Annotated, Any, NamedTuple, TypeVar

import msgspec

from ingest_api.answers import (
    AlertAnswer,
    ContentCountersAnswer,
    CustomerCountersAnswer,
    SessionActivity,
    SessionAnswer,
    TrendingItem,
)
from ingest_api.errors import ApiError
from kinstream.events import format_time_ms, parse_time_ms
from kinstream.views import cardinality
from kinstream.views.closing import Standing
from kinstream.views.sessions import Session, session_id, share_of

_TYPE_PREFIX = "type:"
_Form = TypeVar("_Form")


class Place(NamedTuple):
    """Where a page of sessions ended: the sort key of its last one."""

    started_ms: int
    device_id: str


def session_answer(
    app: str, customer_id: str, device_id: str, session: Session, standing: Standing
) -> SessionAnswer:
    """A session as the API tells it."""
    engaged_ms = session.engaged_ms
    named = partial(session_id, app, customer_id, device_id)
    return SessionAnswer(
        session_id=named(session.started_ms),
        device_id=device_id,
        started_at=format_time_ms(session.started_ms),
        ended_at=format_time_ms(session.ended_ms),
        event_count=session.event_count,
        provisional=standing.provisional,
        revision=standing.revision,
        supersedes=list(map(named, standing.supersedes)),
        activities=[
            SessionActivity(
                name=name,
                seconds=activity.engaged_ms / 1000,
                share=share_of(activity.engaged_ms, engaged_ms, activity.events, session.event_count),
                events=activity.events,
            )
            for name, activity in session.by_priority()
        ],
        content_ids=list(session.content_ids),
    )


def customer_counters(customer_id: str, row: Mapping[str, Any]) -> CustomerCountersAnswer:
    """A customer's counters; all zero where nothing was counted yet."""
    by_type = {
        name.removeprefix(_TYPE_PREFIX): int(count)
        for name, count in sorted(row.items())
        if name.startswith(_TYPE_PREFIX)
    }
    return CustomerCountersAnswer(
        customer_id=customer_id,
        events=row.get("events", 0),
        by_type=by_type,
        events_since_training=row.get("events_since_training", 0),
    )


def content_counters(content_id: str, slots: Iterable[Mapping[str, Any]]) -> ContentCountersAnswer:
    """A content's counters, summed over its slots."""
    likes, views = 0, 0
    registers: set[int] = set()
    for slot in slots:
        likes += slot.get("likes", 0)
        views += slot.get("views", 0)
        registers |= slot.get("viewers", set())
    return ContentCountersAnswer(
        content_id=content_id, likes=likes, views=views, unique_viewers=cardinality.estimate(registers)
    )


def alert_answer(row: Mapping[str, Any]) -> AlertAnswer:
    """An alert as the API tells it."""
    return AlertAnswer(
        alert_id=row["alert_id"],
        kind=row["kind"],
        person_id=row["person_id"],
        raised_at=format_time_ms(row["raised_at_ms"]),
        resolved_at=_time_or_none(row.get("resolved_at_ms")),
        withdrawn_at=_time_or_none(row.get("withdrawn_at_ms")),
        latitude=row["latitude"],
        longitude=row["longitude"],
        acknowledged_by=row.get("acknowledged_by"),
    )


def trending_items(scored: Iterable[tuple[str, float]], most: int) -> list[TrendingItem]:
    """The best contents from scores that may name one content several times; equal scores by id."""
    scores: dict[str, float] = {}
    for content_id, score in scored:
        scores[content_id] = scores.get(content_id, 0.0) + score
    best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:most]
    return [TrendingItem(content_id=content_id, score=float(f"{score:.4g}")) for content_id, score in best]


def encode_cursor(*parts: int | str) -> str:
    """An opaque cursor."""
    return base64.urlsafe_b64encode(msgspec.json.encode(parts)).decode().rstrip("=")


def decode_session_cursor(text: str) -> Place:
    """Where the page before this one ended; ApiError 400 where the cursor is none of ours."""
    return _decode_cursor(text, Place)


class MediaPlace(NamedTuple):
    """Where a page of media ended."""

    created_at_ms: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    media_id: Annotated[str, msgspec.Meta(max_length=128)]


def decode_media_cursor(text: str) -> MediaPlace:
    """Where the page before this one ended."""
    return _decode_cursor(text, MediaPlace)


def decode_key_cursor(text: str) -> str:
    """The sort key that the page before this one ended at."""
    return _decode_cursor(text, tuple[str])[0]


def parse_range(start: str | None, end: str | None) -> tuple[int, int]:
    """(from, to) in milliseconds, all of time where left out; ApiError 422 where they are no times."""
    from_ms, to_ms = _parse_bound("from", start, 0), _parse_bound("to", end, _END_OF_TIME_MS)
    if from_ms > to_ms:
        raise _invalid("from", "from is later than to")
    return max(0, from_ms), to_ms


_END_OF_TIME_MS = 253_402_300_799_999


def _parse_bound(name: str, text: str | None, otherwise: int) -> int:
    if text is None:
        return otherwise
    try:
        # A + that was not percent-encoded arrives as a space.
        return parse_time_ms(text.strip().replace(" ", "+"))
    except (ValueError, OverflowError) as error:
        raise _invalid(
            name, f"{name} is no RFC 3339 time such as 2026-11-20T18:04:05.123Z: {error}"
        ) from error


def _decode_cursor(text: str, kind: type[_Form]) -> _Form:
    try:
        padded = text + "=" * (-len(text) % 4)
        return msgspec.json.decode(base64.b64decode(padded, altchars=b"-_", validate=True), type=kind)
    except (binascii.Error, ValueError, RecursionError) as error:
        message = "this cursor is none of ours; hand back `next` as it came"
        raise ApiError(HTTPStatus.BAD_REQUEST, "invalid_cursor", message) from error


def _invalid(field: str, message: str) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid_request", message, [{"field": field}])


def _time_or_none(time_ms: int | None) -> str | None:
    return None if time_ms is None else format_time_ms(time_ms)
