"""What tables show of an app, and what the plain reference says they must: equal, or a bug."""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from kinstream.events import OTHER, parse_time_ms
from kinstream.ledger_format import Bucket, decode_bucket, split_key, split_sort_key
from kinstream.resources import TABLE_COUNTERS, TABLE_LEDGER, TABLE_RECORDS, TOPIC_ALERTS, TOPIC_SESSIONS
from kinstream.views.cardinality import register_of
from kinstream.views.sessions import Moment, sessions_of
from kinstream_devkit.generate.walks import Place
from kinstream_devkit.reference.alerts import alerts_of
from kinstream_devkit.reference.events import Event, truth_of
from tests.support.model import World

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Tables(Protocol):
    """Tables in memory or not."""

    def rows(self, table: str) -> Iterable[dict[str, Any]]:
        """All items of a table, by its short name."""


def compare(
    tables: Tables,
    app: str,
    events: Sequence[Event],
    places: Sequence[Place],
    most_types: int = 200,
) -> None:
    """Everything that is served of an app, against the reference over the set of its accepted events."""
    truth = truth_of(events)
    sound = truth_of(event for event in events if "content_id" not in event["data"] or _is_sound(event))
    shown = customers_shown(tables, app)
    assert shown == {
        customer: _told_apart(types, shown.get(customer, {}), most_types)
        for customer, types in truth.by_type.items()
    }
    assert sessions_shown(tables, app) == _sessions_meant(truth.sessions)
    assert contents_shown(tables, app) == {
        content_id: (content.likes, content.views, {register_of(viewer) for viewer in content.viewers})
        for content_id, content in sound.contents.items()
        if content.likes or content.views
    }
    fixes = [event for event in events if event["type"] != "location.updated" or "person_id" in event["data"]]
    assert alerts_shown(tables, app) == {
        customer: sorted(
            (
                alert.person_id,
                _ms(alert.raised_at),
                _ms(alert.resolved_at) if alert.resolved_at else None,
                alert.latitude,
                alert.longitude,
            )
            for alert in alerts
        )
        for customer, alerts in alerts_of(fixes, places).items()
    }


def _told_apart(types: Mapping[str, int], shown: Mapping[str, int], most: int) -> dict[str, int]:
    """What must be shown of a customer's types: which of them are told apart is for who came first."""
    own = {f"type:{kind}": n for kind, n in types.items() if f"type:{kind}" in shown}
    assert len(own) == min(most, len(types))
    rest = sum(types.values()) - sum(own.values())
    return {"events": sum(types.values()), **own, **({f"type:{OTHER}": rest} if rest else {})}


def compare_announcements(world: World) -> None:
    """Every row of the outbox was published and marked; the last word on an alert is what its record says."""
    published: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for request in _of_topic(world, TOPIC_ALERTS):
        attribute = request["MessageAttributes"]["announcement_id"]
        published[attribute["StringValue"]].append(json.loads(request["Message"]))
    assert sorted(set(published) ^ set(world.outbox)) == [], (
        "committed and never sent, or the other way round"
    )
    last: dict[tuple[str, str], dict[str, Any]] = {}
    for announcement_id, row in world.outbox.items():
        body = json.loads(row["body"])
        assert all(found == body for found in published[announcement_id])
        if row["topic"] == TOPIC_ALERTS:
            last[body["app"], body["alert_id"]] = body
    assert not [row for row in world.rows("outbox") if "pending_shard" in row]
    records = {
        (split_key(row["pk"])[0], row["alert_id"]): row
        for row in world.rows(TABLE_RECORDS)
        if "alert_id" in row
    }
    assert set(last) == set(records)
    for name, row in records.items():
        assert last[name]["status"] == _status(row)
        assert (last[name]["resolved_at"] is None) == (row["resolved_at_ms"] is None)


def compare_closings(world: World, app: str, events: Sequence[Event]) -> None:
    """Whoever listens to `session.closed`, once all time has passed, holds just the sessions there are."""
    bodies: dict[str, dict[str, Any]] = {}
    for request in _of_topic(world, TOPIC_SESSIONS):
        body = json.loads(request["Message"])
        name = request["MessageAttributes"]["announcement_id"]["StringValue"]
        assert bodies.setdefault(name, body) == body, "one id stands for two announcements"
    held: dict[str, dict[str, Any]] = {}
    superseded = set[str]()
    for body in sorted(bodies.values(), key=lambda body: int(body["revision"])):
        if body["app"] == app:
            held[body["session_id"]] = body
            superseded.update(body["supersedes"])
    shown: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for session_id, body in held.items():
        if session_id not in superseded:
            shown[body["customer_id"]].append(
                (
                    body["device_id"],
                    parse_time_ms(body["started_at"]),
                    parse_time_ms(body["ended_at"]),
                    body["event_count"],
                    [(a["name"], round(a["seconds"] * 1000), a["events"]) for a in body["activities"]],
                    body["content_ids"],
                )
            )
    found = {customer_id: sorted(sessions, key=repr) for customer_id, sessions in shown.items()}
    assert found == _sessions_meant(truth_of(events).sessions)


def _of_topic(world: World, topic: str) -> list[dict[str, Any]]:
    arn = world.names.topic_arn(topic)
    return [request for request in world.sns.published if request["TopicArn"] == arn]


def customers_shown(tables: Tables, app: str) -> dict[str, dict[str, int]]:
    """The counters of each customer."""
    return {
        row["customer_id"]: {k: v for k, v in row.items() if k == "events" or k.startswith("type:")}
        for row in tables.rows(TABLE_COUNTERS)
        if "customer_id" in row and row["app"] == app
    }


def contents_shown(tables: Tables, app: str) -> dict[str, tuple[int, int, set[int]]]:
    """(likes, views, registers of the viewers) of each content that has any."""
    shown: dict[str, tuple[int, int, set[int]]] = {}
    for row in tables.rows(TABLE_COUNTERS):
        of_app, kind, *names = split_key(row["pk"])
        if (of_app, kind) == (app, "content"):
            likes, views, viewers = shown.get(names[0], (0, 0, set()))
            shown[names[0]] = (
                likes + row.get("likes", 0),
                views + row.get("views", 0),
                viewers | row.get("viewers", set()),
            )
    return {content_id: found for content_id, found in shown.items() if found[0] or found[1]}


def alerts_shown(tables: Tables, app: str) -> dict[str, list[tuple[Any, ...]]]:
    """The alerts that stand, of each customer."""
    shown: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for row in tables.rows(TABLE_RECORDS):
        if "alert_id" not in row or row["withdrawn_at_ms"] is not None:
            continue
        of_app, _, customer_id = split_key(row["pk"])
        if of_app == app:
            told = ("person_id", "raised_at_ms", "resolved_at_ms", "latitude", "longitude")
            shown[customer_id].append(tuple(row[name] for name in told))
    return {customer: sorted(alerts) for customer, alerts in shown.items()}


def sessions_shown(tables: Tables, app: str) -> dict[str, list[tuple[Any, ...]]]:
    """The sessions of each customer, as a view over the buckets that are stored."""
    buckets: dict[tuple[str, str], list[Bucket]] = defaultdict(list)
    for row in tables.rows(TABLE_LEDGER):
        of_app, processor, *names = split_key(row["pk"])
        if (of_app, processor) == (app, "activity") and "entries" in row:
            (device_id,), start_ms = split_sort_key(row["sk"])
            bucket = decode_bucket(start_ms, row["entries"], row["facts"], row["version"])
            buckets[names[0], device_id].append(bucket)
    shown: dict[str, list[tuple[Any, ...]]] = defaultdict(list)
    for (customer_id, device_id), of_device in buckets.items():
        for session in sessions_of(_moments(sorted(of_device, key=lambda bucket: bucket.start_ms))):
            activities = [(name, found.engaged_ms, found.events) for name, found in session.by_priority()]
            shown[customer_id].append(
                (
                    device_id,
                    session.started_ms,
                    session.ended_ms,
                    session.event_count,
                    activities,
                    [*session.content_ids],
                )
            )
    return {customer_id: sorted(found, key=repr) for customer_id, found in shown.items()}


def _moments(buckets: Iterable[Bucket]) -> Iterable[Moment]:
    return (
        Moment(time_ms, str(fact[0]), str(fact[1]))
        for bucket in buckets
        for time_ms, fact in bucket.timeline()
        if fact
    )


def _sessions_meant(sessions: dict[str, list[Any]]) -> dict[str, list[tuple[Any, ...]]]:
    return {
        customer_id: sorted(
            (
                (
                    session.device_id,
                    _ms(session.started_at),
                    _ms(session.ended_at),
                    session.event_count,
                    [(a.name, round(a.seconds * 1000), a.events) for a in session.activities],
                    [*session.content_ids],
                )
                for session in found
            ),
            key=repr,
        )
        for customer_id, found in sessions.items()
    }


def _is_sound(event: Event) -> bool:
    return isinstance(event["data"]["content_id"], str)


def _status(record: dict[str, Any]) -> str:
    if record["withdrawn_at_ms"] is not None:
        return "withdrawn"
    return "raised" if record["resolved_at_ms"] is None else "resolved"


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
