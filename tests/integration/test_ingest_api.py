"""The API as clients meet it: its own process, real HTTP, real tables and topics on the emulator."""

import gzip
import json
from typing import Any

import httpx
import pytest

from ingest_api.dialects.cloudevents import CloudEvents
from ingest_api.dialects.posthog import PostHog
from ingest_api.dialects.segment import Segment
from ingest_api.dialects.snowplow import Snowplow
from kinstream import keys
from kinstream.events import format_time_ms
from kinstream.resources import (
    BUCKET_QUARANTINE,
    TABLE_COUNTERS,
    TABLE_RECOMMENDATIONS,
    TABLE_RECORDS,
    TOPIC_EVENTS,
)
from kinstream.views import cardinality, trending
from kinstream.views.sessions import Moment, session_id, sessions_of
from kinstream_devkit.apps import Apps
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.engine import engine, event
from tests.support.ingest import native, now_ms, published, start, stop

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
SPOKEN = Segment().routes | Snowplow().routes | PostHog().routes | CloudEvents().routes
"""Addresses of other protocols, whose key may be within the body."""


def test_accepted_events_reach_the_processors_queues(service, app):
    events = [native(id="Märchen \ufffe"), native(type="screen.viewed", data={})]
    body = gzip.compress(json.dumps(events).encode())
    answer = app.writer.post("/v1/events", content=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "rejected": []})
    arrived = published(service, app, "activity", 2)
    assert [(e.id, e.occurred_at) for e in arrived] == [(e["id"], e["occurred_at"]) for e in events]


def test_rejected_events_are_in_the_quarantine_with_their_reason(service, app):
    old = native(id="old", occurred_at="2001-01-01T00:00:00Z")
    answer = app.writer.post("/v1/events", json={"events": [native(), native(id="odd", colour=1), old]})
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 1
    assert [(r["index"], r["id"], r["error"]) for r in answer.json()["rejected"]] == [
        (1, "odd", "unknown_field"),
        (2, "old", "occurred_at_too_old"),
    ]
    s3, bucket = service.aws("s3"), service.settings.names.of(BUCKET_QUARANTINE)
    listed = s3.list_objects_v2(Bucket=bucket, Prefix=f"app={app.name}/dt=")["Contents"]
    body = b"".join(s3.get_object(Bucket=bucket, Key=one["Key"])["Body"].read() for one in listed)
    kept = [json.loads(line) for line in body.splitlines()]
    assert [(line["app"], line["reason"], line["event"]["id"]) for line in kept] == [
        (app.name, "unknown_field", "odd"),
        (app.name, "occurred_at_too_old", "old"),
    ]


def test_a_body_that_is_no_json_and_a_wrong_method_are_said_so(app):
    for answer, status, code in [
        (app.writer.post("/v1/events", content=b"hello"), 400, "invalid_json"),
        (app.writer.post("/v1/events", content=b" " * 1_048_577), 413, "body_too_large"),
        (app.writer.get("/v1/events"), 405, "method_not_allowed"),
        (app.reader.delete("/v1/trending"), 405, "method_not_allowed"),
        (app.reader.get("/v2"), 404, "not_found"),
        (app.reader.get("/v1/trending?limit=0"), 422, "invalid_request"),
        (app.reader.get("/v1/customers/c/sessions?from=x"), 422, "invalid_request"),
        (app.reader.get("/v1/customers/c/alerts?cursor=x"), 400, "invalid_cursor"),
        (app.reader.get(f"/v1/customers/{'c' * 129}/counters"), 422, "invalid_request"),
        (
            app.reader.put("/v1/customers/c/places/p", content=b'{"name":"\\ud800","x":NaN}'),
            422,
            "invalid_request",
        ),
        (app.reader.put("/v1/customers/c/places/p", content=b"x" * 70_000), 413, "body_too_large"),
    ]:
        assert (answer.status_code, answer.json()["code"]) == (status, code), answer.request.url
        assert set(answer.json()) == {"code", "message", "detail"}


def test_what_other_protocols_send_without_a_key_is_refused_and_never_asked_for_again(service):
    for path, method in ((path, method) for path, methods in SPOKEN.items() for method in methods):
        answer = httpx.request(method, service.url + path, trust_env=False)
        assert answer.status_code in {400, 401, 422}, (method, path)
        assert set(answer.json()) >= {"code", "message", "detail"}


def test_places_and_people_are_kept_by_app_and_by_any_id(service, app):
    place = {"name": "Home", "latitude": 52.5, "longitude": 13.4, "radius_m": 150.0}
    customer = "/v1/customers/a%2Fb%20%C3%BC%23%25"
    assert app.reader.put(f"{customer}/places/home%2F1", json=place).status_code == 200
    assert app.reader.get(f"{customer}/places/home%2F1").json() == place | {"place_id": "home/1"}
    assert app.reader.put(f"{customer}/places/school", json=place).status_code == 200
    first = app.reader.get(f"{customer}/places", params={"limit": 1}).json()
    rest = app.reader.get(f"{customer}/places", params={"cursor": first["next"]}).json()
    assert [p["place_id"] for p in first["places"] + rest["places"]] == ["home/1", "school"]
    assert app.reader.get("/v1/customers/a/places").json() == {"places": [], "next": None}
    assert app.reader.delete(f"{customer}/places/school").status_code == 204
    assert app.reader.delete(f"{customer}/places/school").status_code == 404
    person = {"name": "Ada", "role": "child"}
    assert app.reader.put(f"{customer}/people/kid-1", json=person).status_code == 200
    assert app.reader.get(f"{customer}/people/kid-1").json() == person | {"person_id": "kid-1"}
    assert app.reader.put(f"{customer}/people/kid-1", json=person | {"x": 1}).status_code == 422
    assert app.reader.put(f"{customer}/places/p", json=place | {"radius_m": 0}).status_code == 422
    with service.client(
        Apps(service.aws("dynamodb"), service.settings.names).create("other", "secret")
    ) as other:
        assert other.get(f"{customer}/places/home%2F1").status_code == 404


def test_alerts_come_newest_first_and_are_acknowledged_once(service, app):
    for number in range(3):
        values = {
            "alert_id": f"000{number}-x",
            "kind": "location.unknown",
            "person_id": "kid-1",
            "raised_at_ms": 1_000 * number,
            "resolved_at_ms": None if number else 5_000,
            "latitude": 1.5,
            "longitude": 2,
            "acknowledged_by": None,
            "withdrawn_at_ms": None,
        }
        service.put(TABLE_RECORDS, keys.alert(app.name, "fam", values["alert_id"]), values)
    page = app.reader.get("/v1/customers/fam/alerts", params={"limit": 2}).json()
    rest = app.reader.get("/v1/customers/fam/alerts", params={"cursor": page["next"]}).json()
    alerts = page["alerts"] + rest["alerts"]
    assert [a["alert_id"] for a in alerts] == ["0002-x", "0001-x", "0000-x"]
    assert (alerts[2]["raised_at"], alerts[2]["resolved_at"]) == (
        "1970-01-01T00:00:00.000Z",
        "1970-01-01T00:00:05.000Z",
    )
    assert rest["next"] is None
    for who in ("mother", "father"):
        answer = app.reader.post("/v1/customers/fam/alerts/0001-x/acknowledge", json={"acknowledged_by": who})
        assert (answer.status_code, answer.json()["acknowledged_by"]) == (200, "mother")
    answer = app.reader.post("/v1/customers/fam/alerts/no/acknowledge", json={"acknowledged_by": "x"})
    assert answer.status_code == 404


def test_counters_are_what_the_tables_hold(service, app):
    row = {"events": 3, "events_since_training": 2, "type:content.viewed": 2, "type:app.opened": 1}
    service.put(TABLE_COUNTERS, keys.customer_counters(app.name, "fam"), row)
    assert app.reader.get("/v1/customers/fam/counters").json() == {
        "customer_id": "fam",
        "events": 3,
        "by_type": {"app.opened": 1, "content.viewed": 2},
        "events_since_training": 2,
    }
    viewers = {cardinality.register_of("x"), cardinality.register_of("y")}
    service.put(TABLE_COUNTERS, keys.content_counters(app.name, "s", 0), {"likes": -1, "viewers": viewers})
    service.put(TABLE_COUNTERS, keys.content_counters(app.name, "s", 15), {"likes": 3, "views": 4})
    answer = app.reader.get("/v1/content/s/counters").json()
    assert (answer["likes"], answer["views"], answer["unique_viewers"]) == (2, 4, 2)


def test_recommendations_are_the_trend_until_a_run_is_published(service, app):
    year = trending.year_of(now_ms())
    for name, weight in (("low", 1.0), ("high/ü", 2.0)):
        score = trending.stored_score(weight, now_ms())
        values = {"trend": score, "trend_shard": trending.shard_of(app.name, year, name)}
        service.put(TABLE_COUNTERS, trending.row_key(app.name, year, name), values)
    top = app.reader.get("/v1/trending").json()["items"]
    assert [item["content_id"] for item in top] == ["high/ü", "low"]
    assert top[0]["score"] == pytest.approx(2.0, rel=0.01)
    answer = app.reader.get("/v1/customers/fam/recommendations", params={"limit": 1}).json()
    assert (answer["source"], answer["run_id"], len(answer["items"])) == ("trending", None, 1)
    service.put(TABLE_RECOMMENDATIONS, keys.recommendation_pointer(app.name), {"run_id": "r1"})
    items = [{"content_id": "s-1", "score": 0.9, "because": ["s-7"]}]
    values = {"run_id": "r1", "items": items, "expires_at": now_ms() // 1000 + 100}
    service.put(TABLE_RECOMMENDATIONS, keys.recommendations(app.name, "fam", "r1"), values)
    service.put(
        TABLE_RECOMMENDATIONS, keys.recommendations(app.name, "late", "r1"), values | {"expires_at": 1}
    )
    answer = app.reader.get("/v1/customers/fam/recommendations").json()
    assert answer == {
        "customer_id": "fam",
        "source": "model",
        "run_id": "r1",
        "variant": None,
        "items": items,
    }
    assert app.reader.get("/v1/customers/late/recommendations").json()["source"] == "trending"


def moments_of_three_devices(base_ms: int) -> dict[str, list[int]]:
    """A run of 30 hours without a gap, sessions split by a millisecond, and one lone event."""
    always = [base_ms + number * 25 * MINUTE_MS for number in range(72)]
    split = [base_ms, base_ms + 30 * MINUTE_MS, base_ms + 60 * MINUTE_MS + 1, base_ms + 5 * HOUR_MS]
    return {"always-on": always, "tv": split, "": [base_ms + 30 * MINUTE_MS]}


async def test_sessions_are_those_of_a_plain_fold_in_any_range_and_page(service, app):
    base_ms = (now_ms() // HOUR_MS - 48) * HOUR_MS
    devices = moments_of_three_devices(base_ms)
    events = [
        event(device_id=device, occurred_at=format_time_ms(at), customer_id="fam/1", type="screen.viewed")
        for device, times in devices.items()
        for at in times
    ]
    passive = event(
        device_id="tv",
        occurred_at=format_time_ms(base_ms + 90 * MINUTE_MS),
        customer_id="fam/1",
        type="location.updated",
        data={"person_id": "p", "latitude": 1, "longitude": 1, "accuracy_m": 1},
    )
    async with engine(service.settings) as (one,):
        await one.run("activity", [*events[::2], passive], events[1::2], app=app.name)
    expected = sorted(
        (session.started_ms, device, session.ended_ms, session.event_count)
        for device, times in devices.items()
        for session in sessions_of(Moment(at, "screen.viewed", "") for at in times)
    )
    everything = app.reader.get("/v1/customers/fam%2F1/sessions").json()
    assert everything["next"] is None
    assert [told(session) for session in everything["sessions"]] == [shown(one) for one in expected]
    ids = [session_id(app.name, "fam/1", device, started_ms) for started_ms, device, *_ in expected]
    assert [session["session_id"] for session in everything["sessions"]] == ids
    in_pages, cursor = [], None
    while True:
        query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
        page = app.reader.get("/v1/customers/fam%2F1/sessions", params=query).json()
        in_pages += page["sessions"]
        cursor = page["next"]
        if cursor is None:
            break
    assert in_pages == everything["sessions"]
    edges = [base_ms + offset for offset in (-1, 0, 31 * MINUTE_MS, 10 * HOUR_MS, 26 * HOUR_MS, 40 * HOUR_MS)]
    for start_ms in edges:
        for end_ms in (edge for edge in edges if edge >= start_ms):
            query = {"from": format_time_ms(start_ms), "to": format_time_ms(end_ms)}
            answer = app.reader.get("/v1/customers/fam%2F1/sessions", params=query).json()
            wanted = [one for one in expected if one[0] <= end_ms and one[2] >= start_ms]
            assert [told(session) for session in answer["sessions"]] == [shown(one) for one in wanted]
    of_tv = app.reader.get("/v1/customers/fam%2F1/sessions", params={"device_id": "tv"}).json()
    assert {session["device_id"] for session in of_tv["sessions"]} == {"tv"}


def told(session: dict[str, Any]) -> tuple[Any, ...]:
    return session["started_at"], session["device_id"], session["ended_at"], session["event_count"]


def shown(session: tuple[int, str, int, int]) -> tuple[Any, ...]:
    started_ms, device, ended_ms, count = session
    return format_time_ms(started_ms), device, format_time_ms(ended_ms), count


def test_health_and_metrics_need_no_key(service, app):
    app.writer.post("/v1/events", json=native())
    assert httpx.get(service.url + "/healthz", timeout=60, trust_env=False).json() == {"status": "ok"}
    metrics = httpx.get(service.url + "/metrics", timeout=60, trust_env=False).text
    assert "kinstream_events_accepted_total" in metrics
    assert "kinstream_publish_seconds_bucket" in metrics


def test_without_its_topic_the_answer_is_503_and_the_same_body_succeeds_later(settings, tmp_path):
    provision(settings, processor_queues())
    service = start(settings, tmp_path)
    key = Apps(service.aws("dynamodb"), settings.names).create("demo", "write")
    events = [native(), native(colour=1)]
    try:
        with service.client(key) as client:
            assert list(tmp_path.glob("ready-*"))
            service.aws("sns").delete_topic(TopicArn=settings.names.topic_arn(TOPIC_EVENTS))
            refused = client.post("/v1/events", json=events)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert int(refused.headers["retry-after"]) > 0
            provision(settings, processor_queues())
            assert client.post("/v1/events", json=events).json()["accepted"] == 1
    finally:
        assert stop(service) == 0
    assert not list(tmp_path.glob("ready-*"))
