"""Snowplow's, PostHog's and CloudEvents' own clients, only their host changed, against a real ingest-api."""

import base64
import gzip
import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import posthog
import pytest
import requests
import zstandard
from cloudevents.core.bindings.http import to_binary_event, to_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from requests.adapters import HTTPAdapter
from snowplow_tracker import (
    Emitter,
    PagePing,
    PageView,
    ScreenView,
    SelfDescribing,
    SelfDescribingJson,
    StructuredEvent,
    Subject,
    Tracker,
)
from snowplow_tracker.event_store import InMemoryEventStore
from urllib3.util.retry import Retry

from kinstream.events import Event
from tests.support.ingest import published
from tests.support.sending import wait_for
from tests.support.unwilling import Unwilling, unwilling

AT = (datetime.now(UTC) - timedelta(minutes=2)).replace(microsecond=123_000)
AT_MS = round(AT.timestamp() * 1000)
STORY = {"content_id": "story-7", "person_id": "kid-1"}
SCREEN_ID = "018f6c1e-7a3b-4c64-9d6e-0c2f6d8a4b11"

SNOWPLOW_EVENTS = {
    "page.viewed": {"url": "https://example.org/stories", "title": "Stories"},
    "page.pinged": {"url": "https://example.org/stories", "min_x": 0, "max_x": 20},
    "screen.viewed": {"id": SCREEN_ID, "name": "Stories"},
    "cart.add": {"category": "Cart", "action": "add", "label": "book", "value": 3.5},
    "content.viewed": STORY,
    "transaction.recorded": {"order_id": "o-1", "total": 10.5},
    "transaction_item.recorded": {"order_id": "o-1", "sku": "book", "price": 10.5, "quantity": 1},
}

POSTHOG_EVENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "content.viewed": ("ipad-1", STORY),
    "page.viewed": ("ipad-1", {"$current_url": "https://example.org/stories"}),
    "screen.viewed": ("ipad-1", {"$screen_name": "Stories"}),
    "customer.updated": ("", {"$set": {"plan": "family"}}),
    "group.identified": ("", {"$group_type": "school", "$group_key": "3", "$group_set": {"size": 7}}),
    "customer.aliased": ("", {"distinct_id": "fam-42", "alias": "anon-1"}),
}
"""(device, data) of each, without what the client adds of itself."""

POSTHOG_OWN = {"$lib", "$lib_version", "$is_server", "$geoip_disable", "$os", "$os_version", "$os_distro"}


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


def told(event: Event) -> tuple[dict[str, Any], dict[str, Any]]:
    """(data, what else the client said) of an event."""
    data = json.loads(bytes(event.data))
    return data, data.pop("_client")


def check_statuses(proxy: Unwilling, refusals: int) -> None:
    assert proxy.statuses[:refusals] == [503] * refusals
    assert set(proxy.statuses[refusals:]) == {200}


def tracker_of(emitter: Emitter, key: str, **options: Any) -> Tracker:
    subject = Subject().set_user_id("fam-42").set_domain_user_id("ipad-1").set_platform("mob")
    return Tracker(namespace="family", emitters=emitter, subject=subject, app_id=key, **options)


def track_all(tracker: Tracker) -> None:
    """One event of each kind; all but the page view say their true time."""
    context = [SelfDescribingJson("iglu:org.example/tab/jsonschema/1-0-0", {"name": "für dich"})]
    story = SelfDescribingJson("iglu:org.example/content_viewed/jsonschema/1-0-0", STORY)
    url = SNOWPLOW_EVENTS["page.viewed"]["url"]
    for event in (
        PagePing(page_url=url, min_x=0, max_x=20, true_timestamp=AT_MS),
        ScreenView(id_=SCREEN_ID, name="Stories", true_timestamp=AT_MS),
        StructuredEvent(category="Cart", action="add", label="book", value=3.5, true_timestamp=AT_MS),
        SelfDescribing(event_json=story, context=context, true_timestamp=AT_MS),
        PageView(page_url=url, page_title="Stories"),
    ):
        tracker.track(event)
    item = {"sku": "book", "price": 10.5, "quantity": 1}
    with pytest.warns(DeprecationWarning, match="track_ecommerce"):
        tracker.track_ecommerce_transaction("o-1", 10.5, items=[item], tstamp=AT_MS)


def sent_by_snowplow(proxy: Unwilling) -> dict[str, dict[str, str]]:
    """What the tracker sent of each event, by its id."""
    found: list[dict[str, str]] = []
    for one in proxy.seen:
        if one.method == "POST":
            found += json.loads(one.body)["data"]
        else:
            found.append({name: values[0] for name, values in parse_qs(urlsplit(one.path).query).items()})
    return {event["eid"]: event for event in found}


def by_event_id(path: str, _body: bytes) -> str:
    """Tries of one event: the tracker writes the time of each try into the query."""
    return parse_qs(urlsplit(path).query)["eid"][0]


@pytest.mark.parametrize("refusals", [0, 2])
@pytest.mark.parametrize(
    ("method", "packed"), [("post", True), ("post", False), ("get", True)], ids=["post", "plain", "get"]
)
def test_each_call_of_snowplows_tracker_is_one_event(service, app, method, packed, refusals):
    sent: list[Any] = []
    counted = {"counted": by_event_id} if method == "get" else {}
    with unwilling(service.url, refusals, **counted) as proxy:
        emitter = Emitter(proxy.url, method=method, on_success=sent.extend, max_retry_delay_seconds=1)
        tracker = tracker_of(emitter, app.write_key, encode_base64=packed)
        track_all(tracker)
        tracker.flush()
        wait_for("the tracker has sent all", lambda: len(sent) == len(SNOWPLOW_EVENTS), seconds=60)
    events = published(service, app, "activity", len(SNOWPLOW_EVENTS), and_no_more=True)
    assert sorted(event.type for event in events) == sorted(SNOWPLOW_EVENTS)
    raw = sent_by_snowplow(proxy)
    assert {event.id for event in events} == set(raw)
    for event in events:
        data, client = told(event)
        time_ms = int(raw[event.id]["dtm"]) if event.type == "page.viewed" else AT_MS
        assert data == SNOWPLOW_EVENTS[event.type]
        assert (event.customer_id, event.device_id, event.occurred_at_ms) == ("fam-42", "ipad-1", time_ms)
        assert event.person_id == ("kid-1" if event.type == "content.viewed" else "")
        assert (client["dialect"], client["parameters"]["p"]) == ("snowplow", "mob")
        assert app.write_key.encode() not in bytes(event.data)
        if event.type == "content.viewed":
            assert client["contexts"][0]["data"] == {"name": "für dich"}
    if method == "post":
        check_statuses(proxy, refusals)
    else:
        assert sorted(proxy.statuses) == [200] * len(raw) + [503] * (refusals * len(raw))


@pytest.mark.parametrize("method", ["post", "get"])
def test_what_snowplows_tracker_sends_in_vain_does_not_hold_up_what_comes_after(service, app, method):
    """A tracker sends again for ever on 413: all of its later events would wait behind the first."""
    sent: list[Any] = []
    failed: list[Any] = []
    emitter = Emitter(
        service.url,
        method=method,
        batch_size=60 if method == "post" else 1,
        on_success=sent.extend,
        on_failure=lambda _count, events: failed.extend(events),
    )
    big, wrong = tracker_of(emitter, app.write_key), tracker_of(emitter, "kw_nobody_" + "x" * 32)
    if method == "post":
        for _ in range(60):
            big.track(PageView(page_url="https://example.org/" + "x" * 30_000))
    else:
        wrong.track(PageView(page_url="https://example.org/"))
    assert len(failed) == emitter.batch_size
    assert emitter.event_store.size() == 0
    last = big.track(PageView(page_url="https://example.org/after"))
    emitter.flush()
    assert [event["eid"] for event in sent] == [last]
    assert [event.id for event in published(service, app, "activity", 1, and_no_more=True)] == [last]


class InParts(InMemoryEventStore):
    """Hands out at most 500 events at once: by itself a tracker sends all that waited in one request."""

    def get_events_batch(self) -> list[dict[str, Any]]:
        batch, self.event_buffer = self.event_buffer[:500], self.event_buffer[500:]
        return batch


def test_all_that_waited_in_snowplows_tracker_during_an_outage_arrives(service, app):
    sent: list[Any] = []
    with unwilling(service.url, 2) as proxy:
        store = InParts(logger=logging.getLogger("snowplow"))
        emitter = Emitter(proxy.url, on_success=sent.extend, event_store=store, max_retry_delay_seconds=1)
        tracker = tracker_of(emitter, app.write_key)
        ids = {tracker.track(PageView(page_url="https://example.org/")) for _ in range(1_600)}

        def everything_is_sent() -> bool:
            tracker.flush()
            return len(sent) >= len(ids)

        wait_for("the tracker has sent all", everything_is_sent, seconds=60)
    events = published(service, app, "activity", len(ids), and_no_more=True)
    assert len(events) == len(ids)
    assert {event.id for event in events} == ids
    assert proxy.statuses[:2] == [503, 503]
    assert max(len(json.loads(one.body)["data"]) for one in proxy.seen) == 500


def capture_all(client: posthog.Client) -> list[str | None]:
    """One event of each kind; the ids that the client gave them."""
    who = {"distinct_id": "fam-42", "timestamp": AT}
    device = {"$device_id": "ipad-1"}
    page, screen = (
        POSTHOG_EVENTS["page.viewed"][1] | device,
        POSTHOG_EVENTS["screen.viewed"][1] | device,
    )
    return [
        client.capture("Content Viewed", properties=STORY | device, **who),
        client.capture("$pageview", properties=page, **who),
        client.capture("$screen", properties=screen, **who),
        client.set(properties={"plan": "family"}, **who),
        client.group_identify("school", "3", {"size": 7}, **who),
        client.alias("fam-42", "anon-1", timestamp=AT),
    ]


def unzipped(body: bytes, encoding: str | None) -> bytes:
    match encoding:
        case "gzip":
            return gzip.decompress(body)
        case "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(body)
    return body


@pytest.mark.parametrize("refusals", [0, 2])
@pytest.mark.parametrize(
    ("mode", "encoding"), [("v0", None), ("v0", "gzip"), ("v1", None), ("v1", "gzip"), ("v1", "zstd")]
)
def test_each_call_of_posthogs_client_is_one_event(service, app, mode, encoding, refusals):
    options = {"gzip": encoding is not None} if mode == "v0" else {"capture_compression": encoding}
    failures: list[Any] = []
    with unwilling(service.url, refusals) as proxy:
        client = posthog.Client(
            app.write_key,
            host=proxy.url,
            capture_mode=mode,
            on_error=lambda error, _batch: failures.append(error),
            **options,
        )
        ids = capture_all(client)
        client.shutdown()
    events = published(service, app, "activity", len(POSTHOG_EVENTS), and_no_more=True)
    assert failures == []
    assert sorted(event.type for event in events) == sorted(POSTHOG_EVENTS)
    assert {event.id for event in events} == set(ids)
    for event in events:
        device, expected = POSTHOG_EVENTS[event.type]
        data, client_said = told(event)
        assert (event.customer_id, event.device_id, event.occurred_at_ms) == ("fam-42", device, AT_MS)
        assert {name: data[name] for name in expected} == expected
        assert {name for name in data if not name.startswith("$python")} - POSTHOG_OWN == (
            set(expected) | ({"$device_id"} if device else set())
        )
        assert event.person_id == ("kid-1" if event.type == "content.viewed" else "")
        assert client_said["dialect"] == "posthog"
        assert abs(client_said["clock_skew_ms"]) < 3_600_000
        assert app.write_key.encode() not in bytes(event.data)
    check_statuses(proxy, refusals)
    path = "/batch/" if mode == "v0" else "/i/v1/analytics/events"
    for one in proxy.seen:
        assert (one.path, one.headers.get("content-encoding")) == (path, encoding)
        assert json.loads(unzipped(one.body, encoding))["batch"]


def test_posthogs_new_client_hears_which_event_was_dropped_and_sends_it_once(service, app):
    failures: list[Any] = []
    with unwilling(service.url, 0) as proxy:
        client = posthog.Client(
            app.write_key,
            host=proxy.url,
            capture_mode="v1",
            on_error=lambda error, _batch: failures.append(error),
        )
        good = client.capture("story_liked", distinct_id="fam-42")
        bad = client.capture("content.viewed", distinct_id="fam-42")
        client.shutdown()
    [error] = failures
    [(dropped, why)] = error.drops
    assert (dropped, why.split(":")[0]) == (bad, "missing_field")
    assert proxy.statuses == [200]
    assert [event.id for event in published(service, app, "activity", 1, and_no_more=True)] == [good]


def cloud_event(number: int, **attributes: Any) -> CloudEvent:
    return CloudEvent(
        attributes={
            "id": f"ce-{number}",
            "source": "/apps/ipad",
            "type": "content.viewed",
            "time": AT,
            "customerid": "fam-42 für \u20ac",
            "deviceid": "ipad-1",
            "datacontenttype": "application/json",
            "dataschema": "urn:story",
        }
        | attributes,
        data=dict(STORY),
    )


def messages(mode: str) -> list[tuple[dict[str, str], bytes]]:
    """(headers, body) of the requests that carry the same three events in a mode."""
    events = [cloud_event(number) for number in range(3)]
    if mode == "batch":
        written = b",".join(JSONFormat().write(event) for event in events)
        return [({"content-type": "application/cloudevents-batch+json"}, b"[" + written + b"]")]
    make = to_binary_event if mode == "binary" else to_structured_event
    made = [make(event) for event in events]
    return [(message.headers, message.body) for message in made]


@pytest.mark.parametrize("refusals", [0, 2])
@pytest.mark.parametrize("mode", ["binary", "structured", "batch"])
def test_each_cloudevent_of_its_library_is_one_event_in_every_mode(service, app, mode, refusals):
    with unwilling(service.url, refusals) as proxy, requests.Session() as session:
        again = Retry(total=3, status_forcelist=[503], allowed_methods=None)
        session.mount("http://", HTTPAdapter(max_retries=again))
        session.headers["Authorization"] = f"Bearer {app.write_key}"
        for headers, body in messages(mode):
            answer = session.post(f"{proxy.url}/v1/cloudevents", data=body, headers=headers)
            assert (answer.status_code, answer.json()["rejected"]) == (200, [])
    check_statuses(proxy, refusals)
    events = published(service, app, "activity", 3, and_no_more=True)
    assert sorted(event.id for event in events) == ["ce-0", "ce-1", "ce-2"]
    for event in events:
        data, client = told(event)
        assert (event.customer_id, event.device_id) == ("fam-42 für \u20ac", "ipad-1")
        assert (event.type, event.occurred_at_ms, event.person_id) == ("content.viewed", AT_MS, "kid-1")
        assert data == STORY
        assert (client["source"], client["dataschema"]) == ("/apps/ipad", "urn:story")


@pytest.mark.parametrize("make", [to_binary_event, to_structured_event])
def test_a_cloudevent_with_bytes_keeps_them(service, app, make):
    event = cloud_event(1, type="drawing.made", datacontenttype="image/png")
    message = make(CloudEvent(attributes=dict(event.get_attributes()), data=b"\x89PNG\x00\xff"))
    answer = app.writer.post("/v1/cloudevents", content=message.body, headers=message.headers)
    assert answer.json() == {"accepted": 1, "rejected": []}
    [found] = published(service, app, "activity", 1, and_no_more=True)
    assert told(found)[0] == {"data_base64": base64.b64encode(b"\x89PNG\x00\xff").decode()}
