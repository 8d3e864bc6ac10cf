"""Snowplow's protocol read into native events."""

import base64
import json
from http import HTTPStatus
from typing import Any

import pytest

from ingest_api.dialects.snowplow import GET_PATH, POST_PATH, Snowplow
from ingest_api.errors import ApiError, unavailable
from tests.support.reading import NOW, NOW_MS, answered, client_of, data_of, incoming, reasons, the_event

DIALECT = Snowplow()
WHO = {"uid": "fam-42", "duid": "ipad-1", "dtm": str(NOW_MS), "eid": "event-1", "aid": "kw_demo_1"}
CONTENT = {"schema": "iglu:org.example/content_viewed/jsonschema/1-0-0", "data": {"content_id": "s"}}
WRAPPED = {
    "schema": "iglu:com.snowplowanalytics.snowplow/unstruct_event/jsonschema/1-0-0",
    "data": CONTENT,
}


def posted(*events: Any, **headers: str) -> Any:
    return incoming(POST_PATH, {"schema": "iglu:x", "data": events}, headers=headers)


def read(*events: Any, **headers: str) -> Any:
    return DIALECT.read(posted(*events, **headers))


def packed(value: Any, *, padded: bool = True) -> str:
    text = base64.urlsafe_b64encode(json.dumps(value, ensure_ascii=False).encode()).decode()
    return text if padded else text.rstrip("=")


def test_the_app_id_is_the_key_and_the_event_has_the_trackers_id_time_and_people():
    reading = read({"e": "pv", "url": "https://e.org/", "page": "Stories", "refr": "r", **WHO})
    event = the_event(reading)
    assert reading.key == "kw_demo_1"
    assert (event.id, event.type, event.occurred_at) == ("event-1", "page.viewed", NOW)
    assert (event.customer_id, event.device_id) == ("fam-42", "ipad-1")
    assert data_of(event) == {"url": "https://e.org/", "title": "Stories", "referrer": "r"}


@pytest.mark.parametrize(
    ("parameters", "event_type", "data"),
    [
        ({"e": "pp", "pp_mix": "0", "pp_may": "20"}, "page.pinged", {"min_x": 0, "max_y": 20}),
        (
            {"e": "se", "se_ca": "Cart", "se_ac": "add", "se_la": "l", "se_pr": "p", "se_va": "3.5"},
            "cart.add",
            {"category": "Cart", "action": "add", "label": "l", "property": "p", "value": 3.5},
        ),
        ({"e": "tr", "tr_id": "o", "tr_tt": "1e1"}, "transaction.recorded", {"order_id": "o", "total": 10}),
        (
            {"e": "ti", "ti_id": "o", "ti_sk": "a", "ti_pr": "many", "ti_qu": "inf"},
            "transaction_item.recorded",
            {"order_id": "o", "sku": "a", "price": "many", "quantity": "inf"},
        ),
        ({"e": "ue", "ue_px": packed(WRAPPED)}, "content.viewed", {"content_id": "s"}),
        ({"e": "ue", "ue_px": packed(WRAPPED, padded=False)}, "content.viewed", {"content_id": "s"}),
        ({"e": "ue", "ue_pr": json.dumps(WRAPPED)}, "content.viewed", {"content_id": "s"}),
    ],
)
def test_each_kind_of_event_has_its_type_and_its_data(parameters, event_type, data):
    event = the_event(read(parameters | WHO))
    assert (event.type, data_of(event)) == (event_type, data)


@pytest.mark.parametrize(
    ("schema", "event_type"),
    [
        ("iglu:com.snowplowanalytics.mobile/screen_view/jsonschema/1-0-0", "screen.viewed"),
        ("iglu:com.snowplowanalytics.snowplow/link_click/jsonschema/1-0-1", "link.clicked"),
        ("iglu:org.example/screen_view/jsonschema/1-0-0", "screen.view"),
        ("iglu:org.example/storyLiked/jsonschema/1-0-0", "story.liked"),
    ],
)
def test_a_self_describing_event_is_named_after_its_schema(schema, event_type):
    event = the_event(read({"e": "ue", "ue_pr": json.dumps({"data": {"schema": schema, "data": {}}}), **WHO}))
    assert (event.type, client_of(event)["schema"]) == (event_type, schema)


@pytest.mark.parametrize("name", ["cx", "co"])
def test_contexts_and_what_else_the_tracker_says_are_kept_beside_the_data(name):
    contexts = [{"schema": "iglu:a/b/jsonschema/1-0-0", "data": {"ü": "ß"}}]
    value = packed({"data": contexts}) if name == "cx" else json.dumps({"data": contexts})
    event = the_event(read({"e": "pv", name: value, "p": "mob", "stm": str(NOW_MS - 700), **WHO}))
    assert client_of(event) == {
        "dialect": "snowplow",
        "contexts": contexts,
        "parameters": {"p": "mob"},
        "sent_at": str(NOW_MS - 700),
        "clock_skew_ms": -700,
    }


def test_the_true_time_goes_before_the_trackers_and_a_wrong_sending_time_harms_nothing():
    event = the_event(read({"e": "pv", "stm": "soon", **WHO, "ttm": str(NOW_MS - 60_123)}))
    assert event.occurred_at_ms == NOW_MS - 60_123
    assert client_of(event)["parameters"] == {"dtm": str(NOW_MS)}
    assert "clock_skew_ms" not in client_of(event)


def test_the_device_is_the_customer_while_nobody_is_signed_in():
    event = the_event(read({"e": "pv", **WHO, "uid": ""}))
    assert (event.customer_id, event.device_id) == ("ipad-1", "ipad-1")


def test_an_event_without_an_id_is_the_same_event_in_the_next_try():
    first, second, other = (
        the_event(read({"e": "pv", **WHO, "eid": None, **changed}))
        for changed in ({"stm": "1795197845000"}, {"stm": "1795197849000"}, {"page": "x"})
    )
    assert first.id == second.id != other.id
    assert len(first.id) == 64


def test_an_event_that_cannot_be_decoded_is_kept_without_the_key():
    bad = b'{"eid":"e","aid":"kw_demo_1","x":"\\ud83d"}'
    body = b'{"data":[%b,%b]}' % (json.dumps({"e": "pv", **WHO}).encode(), bad)
    item = DIALECT.read(incoming(POST_PATH, body)).items[1]
    assert item.verdict.code == "invalid_json"
    assert (b"kw_demo_1" in item.original, b'"e"' in item.original) == (False, True)


def test_the_query_of_a_get_is_one_event_and_is_answered_with_an_image():
    request = incoming(
        GET_PATH,
        method="GET",
        query="e=pv&page=%C3%9Cber+uns&uid=fam-42&eid=e1&aid=kw_demo_1&dtm=" + str(NOW_MS),
    )
    reading = DIALECT.read(request)
    assert (reading.key, data_of(the_event(reading))) == ("kw_demo_1", {"title": "Über uns"})
    answer = answered(DIALECT, request)
    assert (answer.status, answer.content_type, answer.body[:6]) == (200, b"image/gif", b"GIF89a")


def test_a_bad_event_harms_no_neighbour_and_is_named():
    page = {"e": "pv", **WHO}
    reading = read(
        page,
        page | {"uid": "", "duid": ""},
        page | {"dtm": ""},
        page | {"dtm": "yesterday"},
        page | {"e": "zz"},
        {**page, "e": None},
        page | {"e": "ue", "ue_px": "!"},
        page | {"e": "ue"},
        page | {"e": "ue", "ue_pr": '{"data":{"schema":"x","data":{}}}'},
        page | {"e": "ue", "ue_pr": json.dumps({"data": CONTENT | {"data": [1]}})},
        page | {"co": "{}"},
        page | {"url": {"a": 1}},
        page | {"e": "se", "se_ca": "c"},
        page | {"aid": "kw_other_1"},
        page | {"eid": "x" * 129},
        "no event",
    )
    assert reasons(reading) == [
        (1, "missing_field", "uid"),
        (2, "missing_field", "dtm"),
        (3, "occurred_at_invalid", "dtm"),
        (4, "invalid_field", "e"),
        (5, "missing_field", "e"),
        (6, "invalid_field", "ue_px"),
        (7, "missing_field", "ue_px"),
        (8, "invalid_field", "ue_pr"),
        (9, "invalid_field", "properties"),
        (10, "invalid_field", "co"),
        (11, "invalid_field", "url"),
        (12, "missing_field", "se_ca"),
        (13, "invalid_field", "aid"),
        (14, "invalid_field", "eid"),
        (15, "not_an_object", "an event is a JSON object"),
    ]


def test_the_quarantine_is_given_no_base64_and_no_key():
    contexts = {"data": [{"data": {"ip": "10.1.2.3"}}]}
    bad = {"e": "ue", "ue_px": packed(WRAPPED), "cx": packed(contexts), **WHO, "dtm": "never"}
    [refused, broken] = read(bad, bad | {"ue_px": 7, "cx": "!"}).items
    kept = json.loads(refused.original)
    assert (kept["ue_pr"], kept["co"], kept["eid"]) == (WRAPPED, contexts, "event-1")
    assert not {"ue_px", "cx", "aid"} & set(kept)
    assert json.loads(broken.original)["ue_px"] == 7


def test_the_answer_to_a_post_names_the_events_that_are_not_counted_by_their_id():
    answer = json.loads(answered(DIALECT, posted({"e": "pv", **WHO}, {"e": "zz", **WHO, "eid": "bad"})).body)
    assert (answer["accepted"], [(r["index"], r["id"]) for r in answer["rejected"]]) == (1, [(1, "bad")])


def test_app_ids_are_no_keys_where_the_key_is_in_the_header():
    reading = read(
        {"e": "pv", **WHO, "aid": "web"},
        {"e": "pv", **WHO, "aid": "tv", "eid": "2"},
        Authorization="Bearer kw_demo_1",
    )
    assert reasons(reading) == []
    assert b'"app_id":"tv"' in reading.items[1]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"data":1}', b"x", b"\xff", b'{"data":[1'])
def test_a_body_that_is_no_payload_data_is_refused_whole(body):
    with pytest.raises(ApiError) as refused:
        DIALECT.read(incoming(POST_PATH, body))
    assert refused.value.status == 400


@pytest.mark.parametrize("status", [404, 405, 413, 415])
def test_what_sending_again_cannot_mend_is_400_because_trackers_never_give_up(status):
    error = DIALECT.refusal(ApiError(status, "body_too_large", "too large", {"limit": 1}, {"X": "y"}))
    assert (error.status, error.code, error.detail) == (400, "body_too_large", {"limit": 1})
    assert error.headers == {"X": "y"}


def test_what_sending_again_may_mend_keeps_its_status():
    for error in (unavailable("later"), ApiError(HTTPStatus.UNAUTHORIZED, "unknown_key", "no")):
        assert DIALECT.refusal(error) is error


def test_too_many_events_or_parameters_are_refused_whole():
    with pytest.raises(ApiError) as refused:
        read(*[{"e": "pv"}] * 1001)
    assert refused.value.code == "too_many_events"
    with pytest.raises(ApiError) as refused:
        DIALECT.read(incoming(GET_PATH, method="GET", query="&".join(f"p{n}=1" for n in range(500))))
    assert (refused.value.status, refused.value.code) == (400, "invalid_request")


def test_every_route_is_described_with_request_responses_and_examples():
    paths = DIALECT.describe()
    assert {path: {method.upper() for method in item} for path, item in paths.items()} == DIALECT.routes
    assert {"200", "400", "401", "503"} <= set(paths[POST_PATH]["post"]["responses"])
    media = paths[POST_PATH]["post"]["requestBody"]["content"]["application/json"]
    reading = DIALECT.read(incoming(POST_PATH, media["examples"]["events"]["value"]))
    assert reasons(reading) == []
