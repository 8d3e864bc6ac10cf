"""CloudEvents in their three modes read into native events."""

import base64
import json
from typing import Any

import pytest

from ingest_api.dialects.cloudevents import PATH, CloudEvents
from ingest_api.errors import ApiError
from tests.support.reading import NOW, answered, client_of, data_of, incoming, reasons, the_event

DIALECT = CloudEvents()
ONE = "application/cloudevents+json"
MANY = "application/cloudevents-batch+json"


def event(**attributes: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "e-1",
        "source": "/apps/ipad",
        "type": "content.viewed",
        "time": NOW,
        "customerid": "fam-42",
        "data": {"content_id": "s"},
    } | attributes


def structured(one: Any, media: str = ONE) -> Any:
    return incoming(PATH, one, headers={"Content-Type": media})


def binary(body: bytes = b'{"content_id":"s"}', media: str | None = "application/json", **more: str) -> Any:
    attributes = {name: value for name, value in event().items() if name != "data"} | more
    headers = {f"ce-{name}": value for name, value in attributes.items()}
    return incoming(PATH, body, headers=headers | ({"Content-Type": media} if media else {}))


def read_batch(*events: Any) -> Any:
    return DIALECT.read(structured(events, MANY))


def test_attributes_and_extensions_are_the_events_fields():
    found = the_event(DIALECT.read(structured(event(deviceid="ipad-1", personid="kid-1", subject="x"))))
    assert (found.id, found.type, found.occurred_at) == ("e-1", "content.viewed", NOW)
    assert (found.customer_id, found.device_id, found.person_id) == ("fam-42", "ipad-1", "kid-1")
    assert data_of(found) == {"content_id": "s"}


def test_all_three_modes_give_the_same_event():
    whole = DIALECT.read(structured(event()))
    assert DIALECT.read(structured([event()], MANY)).items == whole.items
    found, wanted = the_event(DIALECT.read(binary())), the_event(whole)
    assert (found.id, found.type, found.customer_id, found.occurred_at, data_of(found)) == (
        wanted.id,
        wanted.type,
        wanted.customer_id,
        wanted.occurred_at,
        data_of(wanted),
    )


@pytest.mark.parametrize(("one", "many"), [("application/json", "text/plain"), ("", "")])
def test_the_mode_is_seen_in_the_body_where_the_content_type_does_not_say_it(one, many):
    assert the_event(DIALECT.read(structured(event(), one))).id == "e-1"
    assert the_event(DIALECT.read(structured([event()], many))).id == "e-1"


def test_a_content_type_of_cloudevents_goes_before_headers():
    request = incoming(PATH, event(), headers={"ce-id": "other", "Content-Type": f"{ONE}; charset=utf-8"})
    assert the_event(DIALECT.read(request)).id == "e-1"


def test_source_schema_and_other_extensions_are_kept_beside_the_data():
    sent = event(dataschema="urn:s", subject="s", traceparent="00-1", n=7, gone=None)
    found = the_event(DIALECT.read(structured(sent)))
    assert client_of(found) == {
        "dialect": "cloudevents",
        "source": "/apps/ipad",
        "dataschema": "urn:s",
        "subject": "s",
        "traceparent": "00-1",
        "n": 7,
    }


def test_the_subject_is_the_customer_where_no_extension_names_one():
    assert the_event(DIALECT.read(structured(event(customerid=None, subject="fam-7")))).customer_id == "fam-7"


def test_the_person_of_the_data_counts_where_no_extension_names_one():
    sent = event(data={"content_id": "s", "person_id": "kid-2"})
    assert the_event(DIALECT.read(structured(sent))).person_id == "kid-2"
    assert the_event(DIALECT.read(structured(sent | {"personid": "kid-1"}))).person_id == "kid-1"


@pytest.mark.parametrize(
    ("sent", "data"),
    [
        ({"data": "text"}, {"value": "text"}),
        ({"data": [1, None]}, {"value": [1, None]}),
        ({"data": 0}, {"value": 0}),
        ({"data": None}, {}),
        ({"data": None, "data_base64": "AAE="}, {"data_base64": "AAE="}),
    ],
)
def test_data_that_is_no_object_is_kept_under_a_name(sent, data):
    assert data_of(the_event(DIALECT.read(structured(event(type="note.taken") | sent)))) == data


@pytest.mark.parametrize(
    ("body", "media", "data"),
    [
        (b"", "application/json", {}),
        (b'{ "a":\n1}', "application/vnd.acme+json; charset=utf-8", {"a": 1}),
        (b"7", None, {"value": 7}),
        ("grün".encode(), "text/plain", {"value": "grün"}),
        (b"\x00\xff", "image/png", {"data_base64": base64.b64encode(b"\x00\xff").decode()}),
        (b"\xff", "text/plain", {"data_base64": base64.b64encode(b"\xff").decode()}),
    ],
)
def test_the_body_of_binary_mode_is_the_data_by_its_content_type(body, media, data):
    found = the_event(DIALECT.read(binary(body, media, type="note.taken")))
    assert data_of(found) == data
    assert client_of(found).get("datacontenttype") == media


def test_headers_are_percent_decoded_once_and_freed_of_quotes():
    found = the_event(
        DIALECT.read(binary(customerid="M%C3%A4rchen%20%2541", deviceid='"a \\"b\\" %E2%82%AC"', id="ü"))
    )
    assert (found.customer_id, found.device_id, found.id) == ("Märchen %41", 'a "b" €', "ü")


def test_a_body_that_is_not_the_json_it_is_called_is_kept_and_not_counted():
    reading = DIALECT.read(binary(b"{"))
    assert reasons(reading) == [(0, "invalid_json", "data")]
    assert json.loads(reading.items[0].original)["data_base64"] == "ew=="


def test_headers_cannot_stand_in_for_the_body():
    found = the_event(DIALECT.read(binary(b"", type="note.taken", data="x", data_base64="eA==")))
    assert data_of(found) == {}


def test_a_bad_event_harms_no_neighbour_and_is_named():
    reading = read_batch(
        event(),
        *[event(**{name: None}) for name in ("specversion", "id", "source", "type", "time")],
        event(customerid=None),
        event(specversion="0.3"),
        event(id=7),
        event(source=""),
        event(time="yesterday"),
        event(customerid="x" * 129),
        event(data_base64="AA=="),
        event(data=None, data_base64="!"),
        event(data=None, data_base64=7),
        event(data={}),
        [],
    )
    assert reasons(reading) == [
        (1, "missing_field", "specversion"),
        (2, "missing_field", "id"),
        (3, "missing_field", "source"),
        (4, "missing_field", "type"),
        (5, "missing_field", "time"),
        (6, "missing_field", "customerid"),
        (7, "invalid_field", "specversion"),
        (8, "invalid_field", "id"),
        (9, "missing_field", "source"),
        (10, "occurred_at_invalid", "occurred_at"),
        (11, "invalid_field", "customerid"),
        (12, "invalid_field", "data_base64"),
        (13, "invalid_field", "data_base64"),
        (14, "invalid_field", "data_base64"),
        (15, "missing_field", "data.content_id"),
        (16, "not_an_object", "an event is a JSON object"),
    ]


@pytest.mark.parametrize(("body", "media"), [(b"", ONE), (b"[]", ONE), (b"7", ""), (b"{}", MANY), (b"{", "")])
def test_a_body_that_is_no_cloudevent_is_refused_whole(body, media):
    with pytest.raises(ApiError) as refused:
        DIALECT.read(incoming(PATH, body, headers={"Content-Type": media}))
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


def test_a_format_that_is_no_json_is_refused_with_those_that_are_read():
    with pytest.raises(ApiError) as refused:
        DIALECT.read(incoming(PATH, b"x", headers={"Content-Type": "application/cloudevents+avro"}))
    assert (refused.value.status, refused.value.code) == (415, "unsupported_media_type")
    assert ONE in refused.value.message


def test_the_answer_names_the_events_that_are_not_counted():
    answer = answered(DIALECT, structured([event(), event(id="e-2", time=None)], MANY))
    said = json.loads(answer.body)
    assert (answer.status, said["accepted"]) == (200, 1)
    assert [(r["index"], r["id"], r["error"]) for r in said["rejected"]] == [(1, "e-2", "missing_field")]


def test_every_route_is_described_with_request_responses_and_examples():
    paths = DIALECT.describe()
    assert {path: {method.upper() for method in item} for path, item in paths.items()} == DIALECT.routes
    content = paths[PATH]["post"]["requestBody"]["content"]
    for media in (ONE, MANY):
        [example] = content[media]["examples"].values()
        assert reasons(DIALECT.read(structured(example["value"], media))) == []
