"""Segment's tracking API, read into native events."""

import json
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.admission import Refused, admit_items
from ingest_api.dialects import segment
from ingest_api.dialects.base import Incoming, Outcome, Reading
from ingest_api.dialects.segment import Segment
from ingest_api.errors import ApiError
from kinstream.events import format_time_ms

NOW_MS = 1_795_262_932_565
DAY_MS = 86_400_000
TIME = format_time_ms(NOW_MS - 60_000)
SEGMENT = Segment()

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(segment._Message.__struct_fields__)


def message(**fields: Any) -> dict[str, Any]:
    said = {"type": "track", "messageId": "m-1", "userId": "fam", "event": "Content Viewed"}
    return said | {"timestamp": TIME, "properties": {"content_id": "s"}} | fields


def read(body: Any, path: str = "/v1/batch") -> Reading:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return SEGMENT.read(Incoming("POST", path, b"", {}, raw, NOW_MS))


def one(body: Any, path: str = "/v1/batch") -> dict[str, Any]:
    """The native event of a body with one message, which admission takes."""
    reading = read(body, path)
    admission = admit_items(reading.items, NOW_MS, DAY_MS)
    assert (admission.accepted, admission.rejected) == (1, [])
    item = reading.items[0]
    assert isinstance(item, bytes)
    return dict(json.loads(item))


def refused(**fields: Any) -> tuple[str, str]:
    """Code and detail of the one message that is refused."""
    reading = read({"batch": [message(**fields)], "writeKey": "kw"})
    (rejection,) = admit_items(reading.items, NOW_MS, DAY_MS).rejected
    return rejection.error, rejection.detail


def test_a_track_call_keeps_its_id_time_and_properties():
    event = one({"batch": [message(anonymousId="anon", properties={"content_id": "s", "person_id": "kid"})]})
    assert event["data"].pop("_client")["anonymous_id"] == "anon"
    assert event == {
        "id": "m-1",
        "type": "content.viewed",
        "customer_id": "fam",
        "device_id": "anon",
        "person_id": "kid",
        "occurred_at": TIME,
        "data": {"content_id": "s", "person_id": "kid"},
    }


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("track", "content.viewed"),
        ("identify", "customer.identified"),
        ("page", "page.viewed"),
        ("screen", "screen.viewed"),
        ("group", "group.joined"),
        ("alias", "customer.aliased"),
    ],
)
def test_a_path_of_its_own_names_the_call_in_full_or_in_short(call, expected):
    said = message(type="whatever the path says")
    assert one(said, f"/v1/{call}")["type"] == expected
    assert one(said, f"/v1/{call[0]}")["type"] == expected
    assert one({"batch": [message(type=call)]}, "/v1/b")["type"] == expected


def test_the_anonymous_id_stands_in_for_the_customer():
    event = one({"batch": [message(userId=None, anonymousId="anon")]})
    assert (event["customer_id"], event["device_id"]) == ("anon", "anon")


def test_a_device_of_the_context_goes_before_the_anonymous_id():
    event = one({"batch": [message(anonymousId="anon", context={"device": {"id": "ipad"}})]})
    assert event["device_id"] == "ipad"
    assert one({"batch": [message(context={"device": "ipad"})]})["device_id"] == ""


def test_a_context_of_the_batch_is_that_of_messages_without_one():
    own = {"device": {"id": "own"}}
    body = {"batch": [message(), message(context=own)], "context": {"device": {"id": "shared"}}}
    devices = [json.loads(item)["device_id"] for item in read(body).items if isinstance(item, bytes)]
    assert devices == ["shared", "own"]


def test_traits_are_found_where_rudderstacks_client_puts_them():
    said = message(type="identify", properties=None, context={"traits": {"plan": "family"}})
    assert one({"batch": [said]})["data"]["plan"] == "family"
    assert one({"batch": [said | {"traits": {"plan": "own"}}]})["data"]["plan"] == "own"


def test_what_else_the_client_said_is_kept_without_empties_and_keys():
    said = message(type="group", groupId="g", traits={}, context={"ip": "::1"}, channel="server", name="")
    event = one(
        {"batch": [said | {"writeKey": "kw"}], "writeKey": "kw", "sentAt": format_time_ms(NOW_MS - 5)}
    )
    assert event["data"] == {
        "_client": {
            "dialect": "segment",
            "call": "group",
            "group_id": "g",
            "event": "Content Viewed",
            "channel": "server",
            "sent_at": format_time_ms(NOW_MS - 5),
            "clock_skew_ms": -5,
            "context": {"ip": "::1"},
        }
    }


def test_the_original_time_counts_where_no_other_is_given():
    other = format_time_ms(NOW_MS - 1_000)
    assert one({"batch": [message(originalTimestamp=other)]})["occurred_at"] == TIME
    assert one({"batch": [message(timestamp=None, originalTimestamp=other)]})["occurred_at"] == other
    assert one({"batch": [message(timestamp=NOW_MS)]})["occurred_at"] == format_time_ms(NOW_MS)


def test_a_message_without_an_id_is_the_same_event_in_every_try():
    said = message(messageId=None)
    expected = one({"batch": [said]})["id"]
    assert len(expected) == 64
    tries = [
        {"sentAt": TIME},
        {"sentAt": format_time_ms(NOW_MS)},
        {"writeKey": "kw"},
        {"writeKey": "kw_rotated", "messageId": "", "_metadata": {"retries": 3}},
    ]
    for changed in tries:
        assert one({"batch": [said | changed]})["id"] == expected
        assert one(said | changed, "/v1/track")["id"] == expected
    assert one(dict(reversed(said.items())), "/v1/t")["id"] == expected


@pytest.mark.parametrize(
    "changed",
    [
        {"event": "Content Liked"},
        {"userId": "other"},
        {"properties": {"content_id": "t"}},
        {"context": {"device": {"id": "ipad"}}},
        {"type": "page"},
    ],
)
def test_messages_without_an_id_that_say_different_things_are_different_events(changed):
    said = message(messageId=None)
    assert one({"batch": [said | changed]})["id"] != one({"batch": [said]})["id"]


@pytest.mark.parametrize(
    ("fields", "code", "named"),
    [
        ({"timestamp": None}, "missing_field", "timestamp"),
        ({"timestamp": "2026-11-20 18:04"}, "occurred_at_invalid", "occurred_at"),
        ({"timestamp": [1]}, "occurred_at_invalid", "timestamp"),
        ({"userId": ""}, "missing_field", "userId"),
        ({"userId": {}}, "invalid_field", "userId"),
        ({"userId": "x" * 129}, "invalid_field", "userId"),
        ({"messageId": "x" * 129}, "invalid_field", "messageId"),
        ({"type": None}, "missing_field", "type"),
        ({"type": "delete"}, "invalid_field", "type"),
        ({"event": ""}, "missing_field", "event"),
        ({"event": 5}, "invalid_field", "event"),
        ({"properties": []}, "invalid_field", "properties"),
        ({"context": 5}, "invalid_field", "context"),
        ({"properties": {}}, "missing_field", "data.content_id"),
        ({"writeKey": "another"}, "invalid_field", "writeKey"),
        ({"properties": {"content_id": "s", "x": "y" * 33_000}}, "event_too_large", "the event"),
    ],
)
def test_what_is_wrong_with_a_message_is_said_of_it_alone(fields, code, named):
    found, detail = refused(**fields)
    assert (found, detail.startswith(named)) == (code, True), detail
    bad, good = message(**fields), message(messageId="m-2")
    admission = admit_items(read({"batch": [bad, good], "writeKey": "kw"}).items, NOW_MS, DAY_MS)
    assert (admission.accepted, [r.index for r in admission.rejected]) == (1, [0])


@pytest.mark.parametrize(
    "element", [b"5", b"[]", b'"x"', b"null", b'{"userId": "\\ud83d"}', b'{"userId": "\xff"}']
)
def test_what_is_no_message_harms_no_neighbour(element):
    reading = read(b'{"batch": [%b, %b], "writeKey": "kw"}' % (element, json.dumps(message()).encode()))
    first, second = reading.items
    assert isinstance(first, Refused)
    assert (first.original, first.verdict.code in {"not_an_object", "invalid_json"}) == (element, True)
    assert isinstance(second, bytes)
    assert reading.key == "kw"


def test_the_key_is_that_of_the_body_or_of_its_first_message():
    assert read({"batch": [], "writeKey": "kw"}).key == "kw"
    assert read(message(writeKey="kw"), "/v1/t").key == "kw"
    reading = read({"batch": [message(writeKey="kw"), message(writeKey="kw"), message(writeKey="other")]})
    assert reading.key == "kw"
    assert [isinstance(item, bytes) for item in reading.items] == [True, True, False]
    for without in ({"batch": []}, {"batch": [5]}, {"batch": [message(writeKey=5)]}):
        assert read(without).key is None


@pytest.mark.parametrize(
    ("body", "path", "status", "code"),
    [
        (b"", "/v1/batch", 400, "invalid_json"),
        (b"hello", "/v1/track", 400, "invalid_json"),
        (b"[]", "/v1/track", 400, "invalid_json"),
        (b"{}", "/v1/batch", 422, "invalid_request"),
        (b'{"batch": {}}', "/v1/import", 422, "invalid_request"),
        (b'{"batch": [%b]}' % b",".join([b"{}"] * 1_001), "/v1/batch", 413, "too_many_events"),
    ],
)
def test_a_body_that_cannot_be_taken_apart_is_refused_whole(body, path, status, code):
    with pytest.raises(ApiError) as error:
        read(body, path)
    assert (error.value.status, error.value.code) == (status, code)


KEY = "kw_demo_0123456789abcdefghijklmnopqrstuv"


@pytest.mark.parametrize(
    "bad",
    [
        json.dumps(message(writeKey=KEY, event="")).encode(),
        b'{"messageId":"m-1","writeKey":"%b","name":"\\ud83d"}' % KEY.encode(),
        b'{"messageId":"m-1","writeKey":"%b","a":%b}' % (KEY.encode(), b"[" * 1_100 + b"]" * 1_100),
    ],
)
@pytest.mark.parametrize("headers", [{}, {b"authorization": b"Bearer " + KEY.encode()}])
def test_what_is_refused_is_kept_without_the_key_and_with_all_else(bad, headers):
    reading = SEGMENT.read(Incoming("POST", "/v1/track", b"", headers, bad, NOW_MS))
    (item,) = reading.items
    assert isinstance(item, Refused)
    assert (KEY.encode() in item.original, b'"m-1"' in item.original) == (False, True)
    assert reading.key == KEY


def test_a_message_nested_too_deep_harms_no_neighbour():
    deep = b'{"messageId":"d","properties":%b1%b}' % (b'{"a":' * 1_200, b"}" * 1_200)
    good = [json.dumps(message(messageId=f"m-{number}")).encode() for number in range(999)]
    reading = read(b'{"batch":[%b],"writeKey":"kw"}' % b",".join([deep, *good]))
    admission = admit_items(reading.items, NOW_MS, DAY_MS)
    assert (admission.accepted, reading.key) == (999, "kw")
    assert [(r.index, r.error) for r in admission.rejected] == [(0, "too_deep")]
    admission = admit_items(read(deep, "/v1/track").items, NOW_MS, DAY_MS)
    assert [r.error for r in admission.rejected] == ["too_deep"]


@pytest.mark.parametrize("last", [b"1", b'"\\ud800"', b"[" * 1_100 + b"]" * 1_100])
def test_a_batch_of_far_too_many_is_read_no_further_than_the_limit(last):
    with pytest.raises(ApiError) as error:
        read(b'{"batch":[%b%b]}' % (b"1," * 100_000, last))
    assert error.value.code == "too_many_events"
    # It is counted while it is read: nobody knows that there are 100,001.
    assert "1,001 events" in error.value.message


def test_fields_without_end_are_read_no_further_than_the_limit():
    fields = b",".join(b'"a%d":1' % number for number in range(10_000))
    with pytest.raises(ApiError) as error:
        read(b'{"z":"\\ud800",%b}' % fields, "/v1/track")
    assert (error.value.status, "2,000 fields" in str(error.value.detail)) == (400, True)
    admission = admit_items(read(b'{"z":1,%b}' % fields, "/v1/track").items, NOW_MS, DAY_MS)
    assert len(admission.rejected) == 1


def test_only_so_much_of_a_body_is_read_bracket_by_bracket():
    deep = b'{"a":%b%b}' % (b"[" * 1_100, b"]" * 1_100)
    assert len(read(b'{"batch":[%b]}' % b",".join([deep] * 20)).items) == 20
    with pytest.raises(ApiError) as error:
        read(b'{"batch":[%b]}' % b",".join([deep] * 40))
    assert (error.value.status, "too deep" in str(error.value.detail)) == (400, True)


def test_a_message_far_over_the_limit_is_refused_before_it_is_decoded():
    raw = b'{"messageId":"m-1","a":"%b"' % (b"x" * 150_000)
    reading = read(raw + b',"b":"\\ud800"}', "/v1/track")
    assert [r.error for r in admit_items(reading.items, NOW_MS, DAY_MS).rejected] == ["event_too_large"]


def test_the_answer_names_the_clients_own_id_of_what_is_rejected():
    reading = read({"batch": [message(), message(messageId="m-2", timestamp=None), message(messageId="m-3")]})
    admission = admit_items([*reading.items[:2]], NOW_MS, DAY_MS)
    incoming = Incoming("POST", "/v1/batch", b"", {}, b"", NOW_MS)
    answer = SEGMENT.answer(incoming, reading, Outcome(admission.accepted, admission.rejected))
    body = json.loads(answer.body)
    assert (answer.status, body["success"], body["accepted"]) == (200, True, 1)
    assert [(r["index"], r["id"], r["error"]) for r in body["rejected"]] == [(1, "m-2", "missing_field")]


def test_a_slow_body_is_told_in_a_status_that_all_clients_retry_on():
    slow = SEGMENT.refusal(ApiError(408, "body_too_slow", "slow", headers={"Connection": "close"}))
    assert (slow.status, slow.code, slow.headers["Connection"]) == (503, "body_too_slow", "close")
    assert int(slow.headers["Retry-After"]) > 0
    wrong = ApiError(401, "unknown_key", "wrong")
    assert SEGMENT.refusal(wrong) is wrong


def test_every_route_is_described_with_an_example_that_is_read_as_described():
    described = SEGMENT.describe()
    assert set(described) == set(SEGMENT.routes)
    names = [item["post"]["operationId"] for item in described.values()]
    assert len(set(names)) == len(names)
    for path, item in described.items():
        for media in item["post"]["requestBody"]["content"].values():
            example = media["examples"]["call"]["value"]
            jsonschema_rs.validate(media["schema"], example)
            assert not any(isinstance(one, Refused) for one in read(example, path).items)
        assert {"200", "400", "401", "413", "415", "422", "503"} <= set(item["post"]["responses"])


@given(st.lists(st.dictionaries(FIELDS, JSON, max_size=8), max_size=3), st.sampled_from([*SEGMENT.routes]))
def test_whatever_is_said_each_message_is_an_event_or_a_verdict(messages, path):
    is_batch = path in {"/v1/batch", "/v1/import", "/v1/b"}
    body = {"batch": [message() | said for said in messages]} if is_batch else message()
    reading = read(body, path)
    admission = admit_items(reading.items, NOW_MS, DAY_MS)
    archived = sum(rejection.error.startswith("occurred_at_") for rejection in admission.rejected)
    assert admission.accepted + len(admission.rejected) == len(reading.items)
    published = sum(part.count for part in admission.parts)
    assert admission.accepted <= published <= admission.accepted + archived
    assert translated(read(body, path)) == translated(reading)
    answer = SEGMENT.answer(
        Incoming("POST", path, b"", {}, b"", NOW_MS), reading, Outcome(admission.accepted, admission.rejected)
    )
    assert len(json.loads(answer.body)["rejected"]) == len(admission.rejected)


def translated(reading: Reading) -> list[bytes]:
    return [item for item in reading.items if isinstance(item, bytes)]


@given(st.binary(max_size=300), st.sampled_from([*SEGMENT.routes]))
def test_any_bytes_are_read_or_refused_whole(body, path):
    status, accepted = None, 0
    try:
        accepted = admit_items(read(body, path).items, NOW_MS, DAY_MS).accepted
    except ApiError as error:
        status = error.status
    assert (accepted, status in {None, 400, 413, 422}) == (0, True)
