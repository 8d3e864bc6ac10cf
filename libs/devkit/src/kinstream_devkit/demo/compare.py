"""Every result held against the reference: what the API answers, field by field."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from kinstream_devkit.demo.client import DemoClient, content_path, customer_path, each
from kinstream_devkit.demo.findings import Comparison, Difference, Sent
from kinstream_devkit.demo.wait import standing_alerts
from kinstream_devkit.reference.alerts import Alert
from kinstream_devkit.reference.events import Content, Session, Truth

VIEWERS_TOLERANCE = 0.25
VIEWERS_TOLERANCE_LEAST = 3
"""Unique viewers are an estimate from a sketch: within a quarter, or three."""

_PAGE = 1_000

Values = dict[str, Any]


def text_of_time(moment: datetime) -> str:
    """As every answer of Kinstream writes a time."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def differences_of(expected: Mapping[str, Values], found: Mapping[str, Values]) -> list[Difference]:
    """One a key whose values differ, with the differing fields alone."""
    differences = []
    for key in sorted(expected.keys() | found.keys()):
        wanted, got = expected.get(key), found.get(key)
        if wanted is None or got is None:
            differences.append(Difference(key, wanted, got))
        elif fields := [name for name in wanted if wanted[name] != got.get(name)]:
            smaller_got = {name: got.get(name) for name in fields}
            differences.append(Difference(key, {name: wanted[name] for name in fields}, smaller_got))
    return differences


async def compare_sessions(client: DemoClient, truth: Truth) -> Comparison:
    """Sessions of every customer: start, end, count, activities and contents, exact."""

    async def read(customer: str) -> list[Values]:
        path, whole = customer_path(customer, "sessions"), _range(truth.sessions.get(customer, []))
        return [answer async for answer in client.pages(path, "sessions", limit=_PAGE, **whole)]

    answers = await each(truth.by_type, read)
    found = {
        f"{customer} · {answer['device_id']} · {answer['started_at']}": _session_found(answer)
        for customer, sessions in answers.items()
        for answer in sessions
    }
    expected = {
        f"{customer} · {session.device_id} · {text_of_time(session.started_at)}": _session_expected(session)
        for customer, sessions in truth.sessions.items()
        for session in sessions
    }
    differences = differences_of(expected, found)
    repeated = sum(map(len, answers.values())) - len(found)
    if repeated:
        differences.append(Difference("sessions listed more than once", 0, repeated))
    return Comparison("sessions", len(expected), differences)


def _range(sessions: Iterable[Session]) -> dict[str, str]:
    """A range that holds these sessions, and a day more on both sides for any that should not be there."""
    times = [moment for session in sessions for moment in (session.started_at, session.ended_at)]
    if not times:
        return {}
    margin = timedelta(days=1)
    return {"from": text_of_time(min(times) - margin), "to": text_of_time(max(times) + margin)}


def _session_expected(session: Session) -> Values:
    return {
        "ended_at": text_of_time(session.ended_at),
        "event_count": session.event_count,
        "activities": [
            {"name": a.name, "seconds": round(a.seconds, 3), "share": a.share, "events": a.events}
            for a in session.activities
        ],
        "content_ids": list(session.content_ids),
    }


def _session_found(answer: Values) -> Values:
    activities = [
        {
            "name": a["name"],
            "seconds": round(a["seconds"], 3),
            "share": round(a["share"], 4),
            "events": a["events"],
        }
        for a in answer["activities"]
    ]
    return answer | {"activities": activities}


async def compare_customers(client: DemoClient, truth: Truth) -> Comparison:
    """Events of every customer, in all and by type, exact."""
    found = await each(truth.by_type, lambda customer: client.get(customer_path(customer, "counters")))
    expected = {
        customer: {"events": kinds.total(), "by_type": dict(kinds)}
        for customer, kinds in truth.by_type.items()
    }
    return Comparison("customer counters", len(expected), differences_of(expected, found))


async def compare_contents(client: DemoClient, truth: Truth) -> list[Comparison]:
    """Likes and views of every content, exact; unique viewers about."""
    found = await each(truth.contents, lambda content: client.get(content_path(content)))
    exact = {
        content: {"likes": wanted.likes, "views": wanted.views} for content, wanted in truth.contents.items()
    }
    off = [
        Difference(content, len(wanted.viewers), found[content]["unique_viewers"])
        for content, wanted in truth.contents.items()
        if not _near(wanted, found[content]["unique_viewers"])
    ]
    return [
        Comparison("content likes and views", len(exact), differences_of(exact, found)),
        Comparison("unique viewers, about", len(exact), off),
    ]


def _near(wanted: Content, estimate: float) -> bool:
    viewers = len(wanted.viewers)
    return abs(estimate - viewers) <= max(VIEWERS_TOLERANCE_LEAST, VIEWERS_TOLERANCE * viewers)


async def compare_alerts(
    client: DemoClient, customers: Iterable[str], alerts: Mapping[str, list[Alert]]
) -> Comparison:
    """Alerts of every customer that has fixes: who, when, where, exact; and none where none belongs."""

    async def read(customer: str) -> list[Values]:
        return [alert async for alert in standing_alerts(client, customer)]

    answers = await each(customers, read)
    expected = {
        f"{customer} · {alert.person_id} · {text_of_time(alert.raised_at)}": {
            "kind": "location.unknown",
            "resolved_at": text_of_time(alert.resolved_at) if alert.resolved_at else None,
            "latitude": alert.latitude,
            "longitude": alert.longitude,
        }
        for customer, raised in alerts.items()
        for alert in raised
    }
    found = {
        f"{customer} · {answer['person_id']} · {answer['raised_at']}": answer
        for customer, raised in answers.items()
        for answer in raised
    }
    return Comparison("alerts", len(expected), differences_of(expected, found))


def compare_rejections(sent: Sent, flawed: int) -> Comparison:
    """Every flawed event is rejected and named by its id, and no other is."""
    differences = []
    for rejection in sent.rejections:
        event = rejection.delivery.event
        wanted_id = event.get("id") if isinstance(event, dict) else None
        if rejection.delivery.flaw is None:
            differences.append(Difference(str(wanted_id), "accepted", rejection.error))
        elif (rejection.event_id or None) != (wanted_id or None) or not rejection.detail:
            answer = {"id": rejection.event_id, "error": rejection.error, "detail": rejection.detail}
            differences.append(
                Difference(rejection.delivery.flaw, {"id": wanted_id, "detail": "why"}, answer)
            )
    taken = [delivery for delivery in sent.deliveries if delivery.flaw is not None]
    differences += [Difference(str(delivery.flaw), "rejected", "accepted") for delivery in taken]
    return Comparison("bad events rejected, neighbours taken", flawed, differences)
