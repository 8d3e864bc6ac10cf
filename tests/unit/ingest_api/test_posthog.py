"""PostHog's capture endpoints read into native events."""

import base64
import json
from typing import Any
from urllib.parse import quote_plus

import pytest

from ingest_api.admission import Refused
from ingest_api.dialects.posthog import V0_PATHS, V1_PATH, PostHog
from ingest_api.errors import ApiError
from tests.support.reading import (
    NOW,
    NOW_MS,
    answered,
    client_of,
    data_of,
    events_of,
    incoming,
    reasons,
    the_event,
)

DIALECT = PostHog()
KEY = "kw_demo_1"
SENT = "2026-11-20T18:04:04.623Z"


def event(**fields: Any) -> dict[str, Any]:
    return {
        "event": "Content Viewed",
        "distinct_id": "fam-42",
        "uuid": "19bd4f54-2e74-453a-876e-da3fb506e787",
        "timestamp": NOW,
        "properties": {"content_id": "s"},
    } | fields


def read(*events: Any, path: str = "/batch/", **said: Any) -> Any:
    return DIALECT.read(incoming(path, {"api_key": KEY, "batch": events, **said}))


def test_a_batch_has_its_key_and_each_event_its_own_id_time_and_people():
    reading = read(event(properties={"content_id": "s", "$device_id": "ipad-1", "person_id": "kid-1"}))
    found = the_event(reading)
    assert reading.key == KEY
    assert (found.id, found.type) == ("19bd4f54-2e74-453a-876e-da3fb506e787", "content.viewed")
    assert (found.customer_id, found.device_id, found.person_id) == ("fam-42", "ipad-1", "kid-1")
    assert found.occurred_at == NOW
    assert data_of(found) == {"content_id": "s", "$device_id": "ipad-1", "person_id": "kid-1"}


@pytest.mark.parametrize(
    ("name", "event_type"),
    [
        ("$pageview", "page.viewed"),
        ("$pageleave", "page.left"),
        ("$screen", "screen.viewed"),
        ("$identify", "customer.identified"),
        ("$set", "customer.updated"),
        ("$set_once", "customer.updated"),
        ("$groupidentify", "group.identified"),
        ("$create_alias", "customer.aliased"),
        ("$autocapture", "event.autocapture"),
        ("user_signed_up", "user_signed.up"),
        ("content.liked", "content.liked"),
    ],
)
def test_each_name_has_its_type_and_is_kept(name, event_type):
    found = the_event(read(event(event=name)))
    assert (found.type, client_of(found)["event"]) == (event_type, name)


@pytest.mark.parametrize("form", ["properties", "event"])
def test_set_is_part_of_the_data_wherever_the_client_says_it(form):
    values = {"$set": {"name": "Ada"}, "$set_once": {"since": 2024}}
    sent = event(event="$set", properties=values) if form == "properties" else event(event="$set", **values)
    found = the_event(read(sent if form == "properties" else {**sent, "properties": {}}))
    assert data_of(found) == values


@pytest.mark.parametrize("field", ["api_key", "token"])
@pytest.mark.parametrize("place", ["body", "event", "properties"])
def test_the_key_is_found_where_each_client_puts_it_and_goes_no_further(field, place):
    one = event()
    if place == "properties":
        one["properties"] = {"content_id": "s", field: KEY}
    body = one | {field: KEY} if place == "event" else [one]
    request = incoming("/e/", {"batch": [event()], field: KEY} if place == "body" else body)
    reading = DIALECT.read(request)
    assert reading.key == KEY
    assert the_event(reading).customer_id == "fam-42"
    assert KEY.encode() not in b"".join(reading.items)


def test_what_else_the_client_says_is_kept_beside_the_data():
    found = the_event(
        read(event(options={"process_person_profile": True}, session_id="q", empty={}), sent_at=SENT)
    )
    assert client_of(found) == {
        "dialect": "posthog",
        "event": "Content Viewed",
        "options": {"process_person_profile": True},
        "session_id": "q",
        "sent_at": SENT,
        "clock_skew_ms": -500,
    }


@pytest.mark.parametrize(
    ("query", "headers"),
    [(f"_={NOW_MS - 500}", {}), ("_=x", {"PostHog-Request-Timestamp": SENT})],
)
def test_the_clocks_skew_is_also_told_by_the_query_and_by_a_header(query, headers):
    request = incoming("/e/", [event(token=KEY)], query=query, headers=headers)
    assert client_of(the_event(DIALECT.read(request)))["clock_skew_ms"] == -500


def test_the_customer_may_stand_in_the_properties_and_be_a_number():
    one = event(properties={"distinct_id": 42})
    del one["distinct_id"]
    one["event"] = "$pageview"
    assert the_event(read(one)).customer_id == "42"


def test_without_a_time_the_one_within_a_uuid_of_version_7_counts():
    uuid = f"{NOW_MS:012x}"
    one = event(uuid=f"{uuid[:8]}-{uuid[8:]}-7c64-9d6e-0c2f6d8a4b11", offset=20)
    del one["timestamp"]
    assert the_event(read(one)).occurred_at == NOW


def test_one_event_without_an_id_is_the_same_event_in_the_next_try():
    one = event(api_key=KEY)
    del one["uuid"]
    first, second, other = (
        the_event(DIALECT.read(incoming("/capture/", one | changed)))
        for changed in ({"sent_at": "1"}, {"sent_at": "2"}, {"distinct_id": "x"})
    )
    assert first.id == second.id != other.id


@pytest.mark.parametrize("place", ["event", "properties"])
def test_neither_an_offset_nor_another_key_makes_another_event(place):
    tries = []
    for key, offset in ((KEY, 5), ("kw_demo_2", 900)):
        one = event(uuid=None, offset=offset)
        (one if place == "event" else one["properties"])["token"] = key
        tries.append(the_event(DIALECT.read(incoming("/e/", [one]))).id)
    assert tries[0] == tries[1]


@pytest.mark.parametrize("field", ["api_key", "token"])
def test_a_property_that_is_named_like_a_key_is_a_property_where_the_key_is_elsewhere(field):
    one = event(properties={"content_id": "s", field: "apns-1"})
    in_header = {"Authorization": f"Bearer {KEY}"}
    readings = [
        read(event(), one),
        DIALECT.read(incoming("/batch/", {"batch": [event(), one]}, headers=in_header)),
        DIALECT.read(incoming("/batch/", {"batch": [one]}, headers=in_header)),
        DIALECT.read(incoming("/e/", [event(token=KEY), one])),
        DIALECT.read(incoming("/capture/", one | {"api_key": KEY})),
    ]
    for reading in readings:
        assert reasons(reading) == []
        assert data_of(events_of(reading)[-1]) == {"content_id": "s", field: "apns-1"}
    assert [reading.key for reading in readings] == [KEY, None, None, KEY, KEY]


@pytest.mark.parametrize(
    "authorization", [f"Bearer {KEY}", "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()]
)
def test_the_key_of_the_header_is_no_property(authorization):
    one = event(properties={"content_id": "s", "token": KEY})
    reading = DIALECT.read(incoming("/e/", [one], headers={"Authorization": authorization}))
    assert data_of(the_event(reading)) == {"content_id": "s"}


LONG_KEY = "kw_demo_0123456789abcdefghijklmnopqrstuv"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/capture/", event(event="", api_key=LONG_KEY)),
        ("/e/", [event(event="", properties={"token": LONG_KEY})]),
        ("/e/", {"batch": [event(event="", properties={"token": LONG_KEY})], "api_key": LONG_KEY}),
        ("/e/", b'[{"uuid":"u","token":"%b","x":"\\ud83d"}]' % LONG_KEY.encode()),
    ],
)
def test_what_is_refused_is_kept_without_the_key(path, body):
    reading = DIALECT.read(incoming(path, body))
    [item] = reading.items
    assert isinstance(item, Refused)
    assert LONG_KEY.encode() not in item.original
    assert b'"uuid"' in item.original


def test_an_event_nested_too_deep_harms_no_neighbour_and_is_named():
    deep = b'{"uuid":"d","properties":%b1%b}' % (b'{"a":' * 1_200, b"}" * 1_200)
    body = b'{"api_key":"%b","batch":[%b,%b]}' % (KEY.encode(), deep, json.dumps(event()).encode())
    reading = DIALECT.read(incoming("/batch/", body))
    assert [(index, code) for index, code, _ in reasons(reading)] == [(0, "too_deep")]
    assert (reading.key, len(events_of(reading))) == (KEY, 1)


@pytest.mark.parametrize("encode", [base64.b64encode, bytes])
def test_the_form_of_old_browsers_is_read(encode):
    value = encode(json.dumps([event(token=KEY, event="Ü>?")]).encode())
    reading = DIALECT.read(incoming("/e/", f"data={quote_plus(value)}&compression=base64".encode()))
    assert (reading.key, client_of(the_event(reading))["event"]) == (KEY, "Ü>?")


def test_a_plus_sign_that_nobody_quoted_is_read_in_base64():
    packed = base64.b64encode(json.dumps(event(token=KEY, event="~~>>~~>>"), ensure_ascii=False).encode())
    assert b"+" in packed
    assert client_of(the_event(DIALECT.read(incoming("/e/", b"data=" + packed))))["event"] == "~~>>~~>>"


def test_a_bad_event_harms_no_neighbour_and_is_named():
    reading = read(
        event(),
        event(event=""),
        event(event=7),
        event(distinct_id=None),
        event(timestamp=None),
        event(timestamp="yesterday"),
        event(properties=[1]),
        event(token="kw_other_1"),
        event(uuid={"a": 1}),
        event(properties={"$device_id": [1]}),
        event(properties={}),
        7,
    )
    assert reasons(reading) == [
        (1, "missing_field", "event"),
        (2, "invalid_field", "event"),
        (3, "missing_field", "distinct_id"),
        (4, "missing_field", "timestamp"),
        (5, "occurred_at_invalid", "occurred_at"),
        (6, "invalid_field", "properties"),
        (7, "invalid_field", "api_key"),
        (8, "invalid_field", "uuid"),
        (9, "invalid_field", "$device_id"),
        (10, "missing_field", "data.content_id"),
        (11, "not_an_object", "an event is a JSON object"),
    ]


@pytest.mark.parametrize("body", [b"", b"7", b"data=!", b"data=", b"{", b'{"batch":7}', b"\xff"])
def test_a_body_that_holds_no_events_is_refused_whole(body):
    with pytest.raises(ApiError) as refused:
        DIALECT.read(incoming("/batch/", body))
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


def test_old_endpoints_answer_with_what_was_taken():
    answer = answered(
        DIALECT, incoming("/batch/", {"api_key": KEY, "batch": [event(), event(uuid="b", event="")]})
    )
    said = json.loads(answer.body)
    assert (answer.status, said["status"], said["accepted"]) == (200, "Ok", 1)
    assert [(r["index"], r["id"]) for r in said["rejected"]] == [(1, "b")]


def test_the_new_endpoint_answers_a_result_for_each_uuid():
    batch = [event(uuid="a"), event(uuid="b", distinct_id=""), event(uuid="a", event=""), event(uuid=None)]
    answer = answered(DIALECT, incoming(V1_PATH, {"batch": batch}))
    assert json.loads(answer.body)["results"] == {
        "a": {"result": "drop", "details": "missing_field: event: expected a name"},
        "b": {"result": "drop", "details": "missing_field: distinct_id: is required"},
    }
    answer = answered(DIALECT, incoming(V1_PATH, {"batch": batch[:1]}))
    assert json.loads(answer.body) == {"results": {"a": {"result": "ok"}}}


def test_every_route_is_described_with_request_responses_and_examples():
    paths = DIALECT.describe()
    assert {path: {method.upper() for method in item} for path, item in paths.items()} == DIALECT.routes
    for path in (*V0_PATHS, V1_PATH):
        media = paths[path]["post"]["requestBody"]["content"]["application/json"]
        for example in media["examples"].values():
            assert reasons(DIALECT.read(incoming(path, example["value"]))) == []
    names = [item["post"]["operationId"] for item in paths.values()]
    assert len(set(names)) == len(names)
