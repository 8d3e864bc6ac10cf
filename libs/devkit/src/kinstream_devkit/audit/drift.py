"""Where what is served is not what the archive comes to. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from kinstream.events import OTHER, format_time_ms
from kinstream_devkit.audit.recompute import Session

Kind = Literal["session", "customer", "content"]
Values = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Drift:
    """One value that differs. None stands for what is not there at all."""

    kind: Kind
    subject: str
    """The customer or the content."""
    what: str
    archived: Any
    served: Any


def session_drift(customer_id: str, archived: Iterable[Session], served: Iterable[Values]) -> list[Drift]:
    """Sessions of one customer: each by its device and start, field by field."""
    wanted = {_name(s.device_id, format_time_ms(s.started_ms)): _of_session(s) for s in archived}
    found = {_name(answer["device_id"], answer["started_at"]): _of_answer(answer) for answer in served}
    drifts = []
    for name in sorted(wanted.keys() | found.keys()):
        if name not in wanted or name not in found:
            pair = (_events_in(wanted.get(name)), _events_in(found.get(name)))
            drifts.append(Drift("session", customer_id, name, *pair))
        else:
            drifts += _fields("session", customer_id, wanted[name], found[name], prefix=f"{name} ")
    return drifts


def customer_drift(customer_id: str, by_type: Mapping[str, int], served: Values) -> list[Drift]:
    """Counters of one customer: events in all and by type. Where more types came than are told apart, the
    rest of them together."""
    told = dict(by_type)
    if OTHER in served["by_type"]:
        told = {kind: count for kind, count in by_type.items() if kind in served["by_type"]}
        told[OTHER] = sum(by_type.values()) - sum(told.values())
    wanted = {"events": sum(by_type.values()), **told}
    found = {"events": served["events"], **served["by_type"]}
    return _fields("customer", customer_id, wanted, found, absent=0)


def content_drift(content_id: str, likes_and_views: tuple[int, int], served: Values) -> list[Drift]:
    """Counters of one content."""
    likes, views = likes_and_views
    found = {"likes": served["likes"], "views": served["views"]}
    return _fields("content", content_id, {"likes": likes, "views": views}, found)


def _fields(
    kind: Kind, subject: str, wanted: Values, found: Values, *, prefix: str = "", absent: Any = None
) -> list[Drift]:
    pairs = {
        name: (wanted.get(name, absent), found.get(name, absent)) for name in wanted.keys() | found.keys()
    }
    return [
        Drift(kind, subject, prefix + name, *pairs[name])
        for name in sorted(pairs)
        if len({*map(repr, pairs[name])}) > 1
    ]


def _name(device_id: str, started_at: str) -> str:
    return f"{device_id or 'no device'} {started_at}"


def _events_in(session: Values | None) -> str | None:
    return None if session is None else f"{session['events']} events"


def _of_session(session: Session) -> Values:
    return {
        "ended_at": format_time_ms(session.ended_ms),
        "events": session.events,
        "activities": [
            f"{name} {engaged_ms / 1000:.3f} s {events}" for name, engaged_ms, events in session.activities
        ],
        "contents": list(session.content_ids),
    }


def _of_answer(answer: Values) -> Values:
    return {
        "ended_at": answer["ended_at"],
        "events": answer["event_count"],
        "activities": [f"{a['name']} {a['seconds']:.3f} s {a['events']}" for a in answer["activities"]],
        "contents": list(answer["content_ids"]),
    }
