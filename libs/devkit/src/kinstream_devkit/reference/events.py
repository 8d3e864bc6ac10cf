"""The plain truth: what must come out, computed from the whole input at once.

Deliberately simple, and deliberately not Kinstream's own code: datetimes, dicts and sorting. It shares
nothing with what it checks but the words.
"""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Event = dict[str, Any]

MAX_GAP = timedelta(minutes=30)
MAX_SESSION = timedelta(hours=24)
IDLE_CAP = timedelta(minutes=5)
MAX_NAME_CHARACTERS = 128
"""Of an activity's name so much is kept, as much as an id may have."""

PASSIVE = {"location.updated"}


@dataclass(frozen=True)
class Activity:
    """What a session's time went to."""

    name: str
    seconds: float
    share: float
    events: int


@dataclass(frozen=True)
class Session:
    """A run of one device's events."""

    device_id: str
    started_at: datetime
    ended_at: datetime
    event_count: int
    activities: tuple[Activity, ...]
    content_ids: tuple[str, ...]


@dataclass
class Content:
    """What became of one content."""

    likes: int = 0
    views: int = 0
    viewers: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Truth:
    """Everything that must come out, by customer or content."""

    events: int
    by_type: dict[str, Counter[str]]
    sessions: dict[str, list[Session]]
    contents: dict[str, Content]


def truth_of(events: Iterable[Event]) -> Truth:
    """What accepted events, in any order and repeated at will, must lead to."""
    distinct = without_duplicates(events)
    by_type: dict[str, Counter[str]] = defaultdict(Counter)
    for event in distinct:
        by_type[event["customer_id"]][event["type"]] += 1
    return Truth(len(distinct), dict(by_type), _all_sessions(distinct), _contents(distinct))


def without_duplicates(events: Iterable[Event]) -> list[Event]:
    """Each event once: whose it is, its device, the time as the client wrote it and the id tell which."""
    return list({_identity(event): event for event in events}.values())


def _identity(event: Event) -> tuple[str, ...]:
    return event["customer_id"], event.get("device_id", ""), event["occurred_at"], event["id"]


def time_of(event: Event) -> datetime:
    """When it happened, in UTC, cut to milliseconds."""
    moment = datetime.fromisoformat(event["occurred_at"]).astimezone(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def activity_of(event: Event) -> str:
    """`data.activity` where it is given, else the type."""
    given = event.get("data", {}).get("activity")
    return given[:MAX_NAME_CHARACTERS] if isinstance(given, str) and given else str(event["type"])


def content_of(event: Event) -> str:
    """The content that an event is about, or nothing."""
    content = event.get("data", {}).get("content_id")
    return content[:MAX_NAME_CHARACTERS] if isinstance(content, str) else ""


def _all_sessions(events: list[Event]) -> dict[str, list[Session]]:
    active = [event for event in events if event["type"] not in PASSIVE]
    by_device: dict[tuple[str, str], list[Event]] = defaultdict(list)
    for event in active:
        by_device[event["customer_id"], event.get("device_id", "")].append(event)
    sessions: dict[str, list[Session]] = defaultdict(list)
    for (customer, device), of_device in by_device.items():
        sessions[customer].extend(_session(device, run) for run in _runs(of_device))
    return dict(sessions)


def _runs(events: list[Event]) -> Iterator[list[Event]]:
    """Events of one device, cut where a pause is too long or a session too old."""

    def order(event: Event) -> tuple[datetime, str]:
        return time_of(event), repr((activity_of(event), content_of(event)))

    run: list[Event] = []
    for event in sorted(events, key=order):
        if run and (
            time_of(event) - time_of(run[-1]) > MAX_GAP or time_of(event) - time_of(run[0]) > MAX_SESSION
        ):
            yield run
            run = []
        run.append(event)
    if run:
        yield run


def _session(device: str, run: list[Event]) -> Session:
    contents = [content_of(event) for event in run]
    return Session(
        device_id=device,
        started_at=time_of(run[0]),
        ended_at=time_of(run[-1]),
        event_count=len(run),
        activities=tuple(_activities(run)),
        content_ids=tuple(dict.fromkeys(content for content in contents if content)),
    )


def _activities(run: list[Event]) -> list[Activity]:
    """Most time first, then most events, then by name."""
    events = Counter(activity_of(event) for event in run)
    spent: dict[str, timedelta] = {name: timedelta(0) for name in events}
    for event, following in itertools.pairwise(run):
        spent[activity_of(event)] += min(time_of(following) - time_of(event), IDLE_CAP)
    whole = sum(spent.values(), timedelta(0))
    names = sorted(events, key=lambda name: (-spent[name], -events[name], name))
    return [
        Activity(
            name=name,
            seconds=spent[name] / timedelta(seconds=1),
            share=round(spent[name] / whole if whole else events[name] / len(run), 4),
            events=events[name],
        )
        for name in names
    ]


def _contents(events: list[Event]) -> dict[str, Content]:
    contents: dict[str, Content] = defaultdict(Content)
    likings = [event for event in events if event["type"] in {"content.liked", "content.unliked"}]
    last: dict[tuple[str, str], str] = {}
    for event in sorted(likings, key=lambda event: (time_of(event), event["id"])):
        last[event["customer_id"], content_of(event)] = event["type"]
    for (_, content), kind in last.items():
        contents[content].likes += kind == "content.liked"
    for event in events:
        if event["type"] == "content.viewed":
            contents[content_of(event)].views += 1
            contents[content_of(event)].viewers.add(event["customer_id"])
    return dict(contents)
