"""Cases on the edge, one customer each, so that every run of the demo crosses them."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from kinstream_devkit.generate.sessions import Event, text_of

MAX_GAP = timedelta(minutes=30)
_MILLISECOND = timedelta(milliseconds=1)


def edge_events(now: datetime) -> Iterator[list[Event]]:
    """One list a case. Six days ago, so that a day-long case ends before now."""
    start = (now - timedelta(days=6)).replace(microsecond=0)
    yield _gaps(start)
    yield _marathon(start)
    yield _changes_of_mind_within_a_millisecond(start)
    yield _ids_that_look_alike(start)


def _event(customer_id: str, number: int, moment: datetime, **changes: Any) -> Event:
    event: Event = {
        "id": f"{customer_id}-{number}",
        "type": "content.viewed",
        "customer_id": customer_id,
        "device_id": "ipad",
        "occurred_at": text_of(moment),
        "data": {"content_id": "story-the-sleepy-fox", "activity": "reading"},
    }
    return event | changes


def _gaps(start: datetime) -> list[Event]:
    """30 minutes to the millisecond join; one more splits."""
    second = start + MAX_GAP
    third = second + MAX_GAP + _MILLISECOND
    return [_event("edge-gaps", number, moment) for number, moment in enumerate((start, second, third))]


def _marathon(start: datetime) -> list[Event]:
    """A story every 20 minutes for 25 hours: cut at 24."""
    return [_event("edge-marathon", n, start + n * timedelta(minutes=20)) for n in range(76)]


def _changes_of_mind_within_a_millisecond(start: datetime) -> list[Event]:
    """The id decides where the times are equal."""
    customer = "edge-mind"
    story = {"data": {"content_id": "story-the-brave-owl"}}
    other = {"data": {"content_id": "story-the-tiny-crab"}}
    return [
        _event(customer, 1, start, type="content.liked", **story),
        _event(customer, 2, start, type="content.unliked", **story),
        _event(customer, 4, start, type="content.liked", **other),
        _event(customer, 3, start, type="content.unliked", **other),
    ]


def _ids_that_look_alike(start: datetime) -> list[Event]:
    """One id at two times is two events; times may carry an offset, names any character."""
    customer = "edge lindström 🦊"
    later = start + timedelta(seconds=90)
    return [
        _event(customer, 1, start),
        _event(customer, 1, start, id="läsning 🦊 \ufffe"),
        _event(customer, 2, start, id="same"),
        _event(customer, 2, later, id="same"),
        _event(customer, 3, later, id="offset", occurred_at=text_of(later, local=True)),
        _event(customer, 4, later, id="no device", device_id=""),
    ]
