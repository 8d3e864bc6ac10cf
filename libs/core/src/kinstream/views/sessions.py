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

GAP_MS = 30 * 60 * 1000
MAX_SESSION_MS = 24 * 60 * 60 * 1000
IDLE_CAP_MS = 5 * 60 * 1000
"""Of the time between two events at most this much counts as engaged."""

LATENESS_MS = 15 * 60 * 1000
"""How much later than its session an event may come before the session is called closed."""


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

    def is_provisional(self, now_ms: int) -> bool:
        """Whether a later or late event may still change it, by the server's clock."""
        return now_ms < self.ended_ms + 2 * GAP_MS + LATENESS_MS


def sessions_of(moments: Iterable[Moment]) -> Iterator[Session]:
    """Sessions of one device in order of time, from its active events in order of (time, activity).

    The time between two events belongs to the activity of the first.
    """
    session: Session | None = None
    previous: Moment | None = None
    for moment in moments:
        if session is None or previous is None or _splits(session, moment):
            if session is not None:
                yield session
            session = Session(moment.time_ms, moment.time_ms)
        else:
            idle_ms = moment.time_ms - previous.time_ms
            session.activities[previous.activity].engaged_ms += min(idle_ms, IDLE_CAP_MS)
        _take(session, moment)
        previous = moment
    if session is not None:
        yield session


def _splits(session: Session, moment: Moment) -> bool:
    return moment.time_ms - session.ended_ms > GAP_MS or moment.time_ms - session.started_ms > MAX_SESSION_MS


def _take(session: Session, moment: Moment) -> None:
    session.ended_ms = moment.time_ms
    session.event_count += 1
    session.activities.setdefault(moment.activity, Activity()).events += 1
    if moment.content_id:
        session.content_ids.setdefault(moment.content_id)


def session_id(app: str, customer_id: str, device_id: str, started_ms: int) -> str:
    """A session's name: the same for the same start, whoever computes it."""
    identity = "\0".join((app, customer_id, device_id, str(started_ms)))
    digest = blake2b(identity.encode(), digest_size=15).digest()
    return "ses_" + base64.b32encode(digest).decode().lower()
