"""Sessions as a view over the ledger: computed from the set of events when somebody asks.

Late, repeated and reordered events cannot break them, because nothing of a session is stored.
A gap of exactly 30 minutes joins, one millisecond more splits, as in Spark, Flink and Kafka Streams.
An event more than 24 hours after its session's start begins a new one.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import NamedTuple

from kinstream.ledger_format import Bucket

GAP_MS = 30 * 60 * 1000
MAX_SESSION_MS = 24 * 60 * 60 * 1000
IDLE_CAP_MS = 5 * 60 * 1000
"""Of the time between two events at most this much counts as engaged."""


class Moment(NamedTuple):
    """One event as sessions see it. `content_id` is empty where the event names none."""

    time_ms: int
    activity: str
    content_id: str


@dataclass(slots=True)
class Activity:
    """What a session's time went to."""

    engaged_ms: int = 0
    events: int = 0


@dataclass(slots=True)
class Session:
    """A run of one device's events. Times in milliseconds since 1970; contents in order of use."""

    started_ms: int
    ended_ms: int
    event_count: int = 0
    activities: dict[str, Activity] = field(default_factory=dict)
    content_ids: dict[str, None] = field(default_factory=dict)

    @property
    def engaged_ms(self) -> int:
        """Time between its events, idle time capped."""
        return sum(activity.engaged_ms for activity in self.activities.values())

    def by_priority(self) -> list[tuple[str, Activity]]:
        """Activities, most engaged time first, then most events, then by name."""
        return sorted(
            self.activities.items(),
            key=lambda named: (-named[1].engaged_ms, -named[1].events, named[0]),
        )


def sessions_of(moments: Iterable[Moment]) -> Iterator[Session]:
    """Sessions of one device in order of time, from its active events in order of (time, activity).

    The time between two events belongs to the activity of the first.
    """
    session: Session | None = None
    activity = Activity()
    # One function, because a day of an always-on device is a hundred thousand moments.
    for time_ms, name, content_id in moments:
        if (
            session is None
            or time_ms - session.ended_ms > GAP_MS
            or time_ms - session.started_ms > MAX_SESSION_MS
        ):
            if session is not None:
                yield session
            session = Session(time_ms, time_ms)
        else:
            activity.engaged_ms += min(time_ms - session.ended_ms, IDLE_CAP_MS)
            session.ended_ms = time_ms
        session.event_count += 1
        found = session.activities.get(name)
        if found is None:
            found = session.activities[name] = Activity()
        activity = found
        activity.events += 1
        if content_id:
            session.content_ids[content_id] = None
    if session is not None:
        yield session


def moments_in(bucket: Bucket) -> list[Moment]:
    """A bucket's moments in order; events without a fact are passive and no part of any session."""
    return [Moment(time_ms, str(fact[0]), str(fact[1])) for time_ms, fact in bucket.timeline() if fact]


def share_of(engaged_ms: int, all_engaged_ms: int, events: int, all_events: int) -> float:
    """An activity's share of its session's engaged time, or of its events where there is none."""
    return round(engaged_ms / all_engaged_ms if all_engaged_ms else events / all_events, 4)


def session_id(app: str, customer_id: str, device_id: str, started_ms: int) -> str:
    """A session's name: the same for the same start, whoever computes it."""
    identity = "\0".join((app, customer_id, device_id, str(started_ms)))
    digest = blake2b(identity.encode(), digest_size=15).digest()
    return "ses_" + base64.b32encode(digest).decode().lower()
