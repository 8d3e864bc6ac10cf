"""Segment's and RudderStack's own clients, unmodified but for their host, against a real ingest-api."""

import gzip
import json
from collections import Counter
from collections.abc import Callable, Mapping
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client as SegmentClient

from kinstream.events import Event
from tests.support.browser import open_page
from tests.support.ingest import published
from tests.support.node_clients import PROGRAMS, installed_clients, run_client
from tests.support.unwilling import ALWAYS, Unwilling, unwilling

AT = (datetime.now(UTC) - timedelta(minutes=2)).replace(microsecond=123_000)
AT_MS = round(AT.timestamp() * 1000)
AT_TEXT = AT.isoformat(timespec="milliseconds").replace("+00:00", "Z")

DEVICE = {"device": {"id": "ipad-1"}}
STORY = {"content_id": "story-7", "person_id": "kid-1", "seconds": 12.5}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("track", {"event": "Content Viewed", "properties": STORY}),
    ("identify", {"traits": {"plan": "family"}}),
    ("page", {"name": "Stories", "properties": {"path": "/stories"}}),
    ("screen", {"name": "Stories", "properties": {"tab": "new"}}),
    ("group", {"groupId": "school-3", "traits": {"name": "Hill School"}}),
    ("alias", {"previousId": "anon-1", "context": DEVICE}),
]
"""What each client is asked to send, in Segment's names, without who and when."""

SIX_EVENTS = {
    "content.viewed": ("kid-1", STORY),
    "customer.identified": ("", {"plan": "family"}),
    "page.viewed": ("", {"path": "/stories"}),
    "screen.viewed": ("", {"tab": "new"}),
    "group.joined": ("", {"name": "Hill School"}),
    "customer.aliased": ("", {}),
}
"""(person, data) that must come of it, by type."""


def check(events: list[Event], data_of: Callable[[dict[str, Any]], dict[str, Any]] = dict) -> dict[str, Any]:
    """Whether these are the six events, each of them once; the `_client` of each, by type."""
    assert sorted(event.type for event in events) == sorted(SIX_EVENTS)
    assert len({event.id for event in events}) == len(events)
    told = {}
    for event in events:
        data = json.loads(bytes(event.data))
        told[event.type] = data.pop("_client")
        found = (event.customer_id, event.device_id, event.occurred_at_ms, event.person_id, data_of(data))
        person, expected = SIX_EVENTS[event.type]
        assert found == ("fam-42", "ipad-1", AT_MS, person, expected), event.type
    assert told["customer.aliased"]["previous_id"] == "anon-1"
    assert told["group.joined"]["group_id"] == "school-3"
    assert told["page.viewed"]["name"] == "Stories"
    assert {one["dialect"] for one in told.values()} == {"segment"}
    assert all(abs(one["clock_skew_ms"]) < 3_600_000 for one in told.values())
    return told


def check_tries(proxy: Unwilling, refusals: int, *, zipped: bool) -> None:
    """Whether the client was refused as often as planned, and sent its bodies as it should."""
    assert proxy.statuses[:refusals] == [503] * refusals
    assert set(proxy.statuses[refusals:]) == {200}
    for one in proxy.seen:
        assert one.headers.get("content-encoding") == ("gzip" if zipped else None)
        assert json.loads(gzip.decompress(one.body) if zipped else one.body)["batch"]


def in_python(call: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of a call in the names of the clients for Python."""
    named = {"groupId": "group_id", "previousId": "previous_id"}
    who = {} if call == "alias" else {"anonymous_id": "ipad-1"}
    said = {named.get(name, name): value for name, value in parameters.items()}
    # Copied, because RudderStack's client writes into what it is given.
    return deepcopy({"user_id": "fam-42", "timestamp": AT} | who | said)


def in_node(call: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """A call in the names of the clients for node."""
    who = {} if call == "alias" else {"anonymousId": "ipad-1"}
    return {
        "call": call,
        "message": {"userId": "fam-42", "timestamp": AT_TEXT} | who | dict(parameters),
    }


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, "127.0.0.1")


@pytest.mark.parametrize("refusals", [0, 2])
@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("client_class", [SegmentClient, RudderClient], ids=["segment", "rudderstack"])
def test_each_call_of_a_python_client_is_one_event(service, app, client_class, zipped, refusals):
    failures: list[Exception] = []
    with unwilling(service.url, refusals) as proxy:
        client = client_class(
            app.write_key,
            host=proxy.url,
            gzip=zipped,
            on_error=lambda error, _batch: failures.append(error),
        )
        sent = [getattr(client, call)(**in_python(call, said))[1] for call, said in CALLS]
        client.shutdown()
    events = published(service, app, "activity", len(CALLS), and_no_more=True)
    check(events)
    assert failures == []
    assert {(e.id, e.occurred_at) for e in events} == {(m["messageId"], m["timestamp"]) for m in sent}
    check_tries(proxy, refusals, zipped=zipped)


@pytest.mark.parametrize("refusals", [0, 2])
def test_each_call_of_segments_node_client_is_one_event(service, app, refusals):
    modules = installed_clients()
    with unwilling(service.url, refusals) as proxy:
        told = run_client(
            "segment.mjs",
            modules,
            url=proxy.url,
            key=app.write_key,
            calls=[in_node(call, said) for call, said in CALLS],
        )
    check(published(service, app, "activity", len(CALLS), and_no_more=True))
    assert told == {"delivered": len(CALLS), "failed": 0}
    check_tries(proxy, refusals, zipped=False)


@pytest.mark.parametrize("refusals", [0, 2])
@pytest.mark.parametrize("zipped", [True, False])
def test_each_call_of_rudderstacks_node_client_is_one_event(service, app, zipped, refusals):
    modules = installed_clients()
    with unwilling(service.url, refusals) as proxy:
        told = run_client(
            "rudder.mjs",
            modules,
            url=proxy.url,
            key=app.write_key,
            gzip=zipped,
            calls=[in_node(call, said) for call, said in CALLS],
        )
    check(published(service, app, "activity", len(CALLS), and_no_more=True))
    assert told == {"delivered": len(CALLS), "failed": 0}
    check_tries(proxy, refusals, zipped=zipped)


def test_rudderstacks_node_client_claims_no_delivery_when_it_gives_up(service, app):
    modules = installed_clients()
    with unwilling(service.url, ALWAYS) as proxy:
        told = run_client(
            "rudder.mjs",
            modules,
            url=proxy.url,
            key=app.write_key,
            gzip=True,
            calls=[in_node("track", CALLS[0][1])],
        )
    assert told == {"delivered": 0, "failed": 1}
    assert proxy.statuses == [503] * 4
    assert published(service, app, "activity", 0) == []


IN_BROWSER = [
    {"call": call, "parameters": [*parameters, {"timestamp": AT_TEXT}]}
    for call, parameters in [
        ("identify", ["fam-42", {"plan": "family"}]),
        ("track", ["Content Viewed", STORY]),
        ("page", ["Stories", {"path": "/stories"}]),
        ("screen", ["Stories", {"tab": "new"}]),
        ("group", ["school-3", {"name": "Hill School"}]),
        ("alias", ["fam-42", "anon-1"]),
    ]
]
ADDED_BY_BROWSER = {"url", "title", "search", "referrer"}
BATCHING = {"strategy": "batching", "config": {"size": 3, "timeout": 200}}


def first_message(_path: str, body: bytes) -> str:
    """What a request of the client in the browser is a try of: the time it is sent at changes with every
    try, and a batch takes in what came meanwhile."""
    said = json.loads(body)
    return str(said.get("batch", [said])[0]["messageId"])


def without_additions(data: dict[str, Any]) -> dict[str, Any]:
    """What the page asked to be sent: the client adds the page's own properties to it."""
    return {k: v for k, v in data.items() if k not in ADDED_BY_BROWSER and (k, v) != ("name", "Stories")}


@pytest.mark.parametrize("refusals", [0, 2])
@pytest.mark.parametrize("strategy", [None, BATCHING], ids=["one by one", "batches"])
def test_each_call_of_segments_browser_client_is_one_event(service, app, tmp_path, strategy, refusals):
    modules = installed_clients()
    with unwilling(service.url, refusals, first_message) as proxy:
        config = {
            "host": proxy.url.removeprefix("http://"),
            "key": app.write_key,
            "strategy": strategy,
            "anonymousId": "ipad-1",
            "calls": IN_BROWSER,
        }
        umd = modules / "node_modules" / "@segment" / "analytics-next" / "dist" / "umd"
        with open_page(PROGRAMS / "browser.html", {"umd": umd}, config, tmp_path):
            events = published(service, app, "activity", len(IN_BROWSER), and_no_more=True)
    told = check(events, without_additions)
    assert told["page.viewed"]["context"]["library"]["name"] == "analytics.js"
    assert "OPTIONS" in {one.method for one in proxy.seen}
    assert {one.headers["content-type"] for one in proxy.seen if one.method == "POST"} == {"text/plain"}
    tries = Counter(first_message(one.path, one.body) for one in proxy.seen if one.method == "POST")
    assert set(tries.values()) == {refusals + 1}


def test_the_key_may_travel_in_the_body_alone_whatever_the_body_is_labelled(service, app):
    message = in_node(*CALLS[0])["message"] | {"type": "track", "messageId": "one"}
    late = message | {"messageId": "late", "timestamp": "2001-01-01T00:00:00Z"}
    body = gzip.compress(json.dumps({"batch": [message, late], "writeKey": app.write_key}).encode())
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as client:
        answer = client.post("/v1/batch", content=body, headers={"Content-Type": "text/plain"})
        single = client.post("/v1/t", json=message | {"messageId": "two", "writeKey": app.write_key})
        wrong = client.post("/v1/t", json=message | {"writeKey": app.write_key + "x"})
        without = client.post("/v1/t", json=message)
    assert (answer.status_code, answer.json()["accepted"]) == (200, 1)
    assert [(r["index"], r["id"], r["error"]) for r in answer.json()["rejected"]] == [
        (1, "late", "occurred_at_too_old")
    ]
    assert (single.status_code, single.json()) == (200, {"success": True, "accepted": 1, "rejected": []})
    assert (wrong.status_code, wrong.json()["code"]) == (401, "unknown_key")
    assert (without.status_code, without.json()["code"]) == (401, "missing_key")
    counted = [e.id for e in published(service, app, "activity", 3, and_no_more=True) if e.counted]
    assert sorted(counted) == ["one", "two"]


def test_a_page_of_any_origin_may_read_a_refusal_and_when_to_come_again(service):
    origin = {"Origin": "https://shop.example"}
    with httpx.Client(base_url=service.url, headers=origin, timeout=60, trust_env=False) as client:
        asked = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization,x-retry-count",
        }
        preflight = client.options("/v1/t", headers=asked)
        refused = client.post("/v1/t", json={})
    assert preflight.status_code == 200
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == "authorization,x-retry-count"
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, "*")
    assert refused.headers["access-control-expose-headers"] == "Retry-After"
    assert "access-control-allow-credentials" not in refused.headers
