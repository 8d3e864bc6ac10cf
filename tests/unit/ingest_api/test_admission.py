"""Which events of a body are taken, and what is said of the others."""

import bisect
import json
from collections.abc import Callable
from typing import Any

import pytest

from ingest_api.admission import Admission, admit
from ingest_api.errors import ApiError
from ingest_api.judgement import MAX_EVENT_BYTES
from kinstream.chunks import Part, assemble_chunk, decode_chunk
from kinstream.events import Event, format_time_ms

NOW_MS = 1_795_197_845_123
RETENTION_MS = 35 * 86_400_000
GOOD: dict[str, Any] = {
    "id": "e-1",
    "type": "content.viewed",
    "customer_id": "fam-42",
    "occurred_at": format_time_ms(NOW_MS),
    "data": {"content_id": "story-7"},
}


def admitted(body: Any) -> Admission:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return admit(raw, NOW_MS, RETENTION_MS)


def travelled(admission: Admission) -> list[Event]:
    return decode_chunk(assemble_chunk("app", admission.parts).decode()).events


def codes(body: Any) -> list[str]:
    return [rejection.error for rejection in admitted(body).rejected]


@pytest.mark.parametrize(
    "body",
    [
        json.dumps([GOOD, GOOD]).encode(),
        json.dumps([GOOD, GOOD], indent=2).encode(),
        json.dumps({"events": [GOOD, GOOD]}, indent=1).encode(),
        json.dumps(GOOD).encode() + b"\n" + json.dumps(GOOD).encode(),
        json.dumps(GOOD).encode() + b"\r\n\r\n" + json.dumps(GOOD).encode() + b"\n",
        b" \n" + json.dumps([GOOD, GOOD]).encode() + b"\n ",
    ],
)
def test_array_envelope_and_lines_give_the_same_events(body):
    admission = admitted(body)
    assert admission.accepted == 2
    assert admission.rejected == []
    assert admission.types == {"content.viewed"}


def test_one_object_is_one_event():
    assert admitted(GOOD).accepted == 1
    assert admitted(json.dumps(GOOD, indent=2).encode()).accepted == 1


def test_an_empty_array_is_no_mistake():
    assert admitted(b"[]").accepted == 0


def test_an_accepted_event_keeps_the_client_s_text_and_gains_both_times():
    (event,) = travelled(admitted(GOOD))
    assert event.occurred_at == GOOD["occurred_at"]
    assert (event.occurred_at_ms, event.received_at_ms) == (NOW_MS, NOW_MS)
    assert json.loads(bytes(event.data)) == GOOD["data"]
    assert event.counted


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"colour": "red"}, "unknown_field", "colour"),
        ({"customer_id": None}, "invalid_field", "customer_id"),
        ({"id": ""}, "invalid_field", "id"),
        ({"id": "x" * 129}, "invalid_field", "id"),
        ({"id": 5}, "invalid_field", "id"),
        ({"type": "Viewed"}, "invalid_field", "noun.past_verb"),
        ({"type": "session.closed", "data": {}}, "invalid_field", "type: session.closed"),
        ({"data": 5}, "invalid_field", "data"),
        ({"data": None}, "invalid_field", "data"),
        ({"data": []}, "invalid_field", "data"),
        ({"data": {}}, "missing_field", "data.content_id"),
        ({"type": "location.updated"}, "missing_field", "data.person_id"),
        ({"data": {"content_id": "c", "pad": "x" * 33_000}}, "event_too_large", "32,768"),
        ({"occurred_at": "yesterday"}, "occurred_at_invalid", "occurred_at"),
        ({"occurred_at": "2026-11-20T18:04:05"}, "occurred_at_invalid", "offset"),
        ({"occurred_at": "2026-11-20T18:04:05\\u005a"}, "occurred_at_invalid", "backslash"),
        ({"occurred_at": format_time_ms(NOW_MS + 300_001)}, "occurred_at_in_future", "ahead"),
        ({"occurred_at": format_time_ms(NOW_MS - RETENTION_MS - 1)}, "occurred_at_too_old", "archived"),
        ({"occurred_at": "0001-01-01T00:00:00+14:00"}, "occurred_at_too_old", "archived"),
        ({"occurred_at": "9999-12-31T23:59:59-14:00"}, "occurred_at_in_future", "ahead"),
    ],
)
def test_a_bad_event_is_named_and_its_neighbours_are_taken(change, code, said):
    admission = admitted([GOOD, GOOD | change, GOOD])
    assert admission.accepted == 2
    (rejection,) = admission.rejected
    assert (rejection.index, rejection.error) == (1, code)
    assert said in rejection.detail
    assert [quarantined.reason for quarantined in admission.quarantined] == [code]


def test_a_missing_field_is_named():
    (rejection,) = admitted([{name: GOOD[name] for name in GOOD if name != "customer_id"}]).rejected
    assert (rejection.error, rejection.detail) == ("missing_field", "customer_id: is required")


@pytest.mark.parametrize("value", [5, "text", None, [1], True])
def test_what_is_no_object_is_no_event(value):
    assert codes([value, GOOD]) == ["not_an_object"]


def test_times_at_the_edges_of_the_window_count():
    edges = [NOW_MS + 300_000, NOW_MS - RETENTION_MS]
    assert admitted([GOOD | {"occurred_at": format_time_ms(edge)} for edge in edges]).accepted == 2


def test_events_out_of_the_window_are_archived_but_not_counted():
    admission = admitted([GOOD | {"occurred_at": "2001-01-01T00:00:00Z"}])
    assert (admission.accepted, len(admission.quarantined)) == (0, 1)
    (event,) = travelled(admission)
    assert not event.counted


DEEP = "[" * 12_000 + "]" * 12_000


def text(data: str) -> bytes:
    event = json.dumps(GOOD | {"data": "DATA"})
    return event.replace('"DATA"', data).encode()


@pytest.mark.parametrize(
    ("data", "code"),
    [
        ('{"content_id":"\\ud800"}', "invalid_json"),
        ('{"content_id":"c","x":"\\udc00"}', "invalid_json"),
        ('{"content_id":"c","x":NaN}', "invalid_json"),
        ('{"content_id":"c","activity":1e999}', "invalid_field"),
        ('{"content_id":"c","x":' + DEEP + "}", "too_deep"),
        ('{"content_id":"c","x":"\x01"}', "invalid_json"),
    ],
)
@pytest.mark.parametrize("form", ["[%b,%b]", '{"events":[%b, %b]}', "%b\n%b"])
def test_odd_json_in_one_event_harms_no_neighbour(data, code, form):
    admission = admitted(form.encode() % (text(data), json.dumps(GOOD).encode()))
    assert admission.accepted == 1
    assert [rejection.error for rejection in admission.rejected] == [code]


def test_bytes_that_are_no_text_fail_their_own_event_alone():
    bad = json.dumps(GOOD).encode().replace(b"story-7", b"story-\xff")
    for body in (b"[%b,%b]", b"%b\n%b"):
        admission = admitted(body % (bad, json.dumps(GOOD).encode()))
        assert [rejection.error for rejection in admission.rejected] == ["invalid_json"]
        assert admission.accepted == 1
        assert isinstance(admission.quarantined[0].event, str)


def test_a_broken_line_is_rejected_with_its_number():
    good = json.dumps(GOOD).encode()
    admission = admitted(good + b'\n{"id": oops\n' + good)
    assert [(rejection.index, rejection.error) for rejection in admission.rejected] == [(1, "invalid_json")]
    assert admission.accepted == 2


@pytest.mark.parametrize(
    "body", [b"", b"  \n", b"hello", b"hello\nworld", b"[1,", b'[{"id":"1"}', b"[1]x", b'{"id":', b"\xff\xfe"]
)
def test_a_body_that_is_no_json_is_refused_whole(body):
    with pytest.raises(ApiError) as refusal:
        admitted(body)
    assert (refusal.value.status, refusal.value.code) == (400, "invalid_json")


def test_a_body_nested_beyond_reading_is_refused():
    with pytest.raises(ApiError) as refusal:
        admitted(b"[" * 200_000 + b"]" * 200_000)
    assert refusal.value.code == "invalid_json"
    assert codes(b"[" * 5_000 + b"]" * 5_000) == ["too_deep"]


def test_an_unknown_field_beside_events_is_named():
    with pytest.raises(ApiError) as refusal:
        admitted({"events": [GOOD], "sent": 1})
    assert refusal.value.code == "unknown_field"
    assert "sent" in refusal.value.message


@pytest.mark.parametrize("event", [GOOD, GOOD | {"x": 1}])
def test_more_than_a_thousand_events_are_refused(event):
    with pytest.raises(ApiError) as refusal:
        admitted([event] * 1_001)
    assert (refusal.value.status, refusal.value.code) == (413, "too_many_events")


def test_a_payload_that_processors_only_read_in_part_is_left_alone():
    assert admitted(GOOD | {"data": {"content_id": "c", "activity": ["odd"], "x": {"y": [1]}}}).accepted == 1
    assert admitted({**GOOD, "type": "app.opened", "data": {"content_id": 5}}).accepted == 1


def test_the_quarantine_keeps_json_on_one_line():
    admission = admitted(json.dumps([GOOD | {"x": 1}], indent=2).encode())
    (kept,) = admission.quarantined
    assert b"\n" not in bytes(kept.event)
    assert json.loads(bytes(kept.event)) == GOOD | {"x": 1}


def test_lines_are_cut_where_they_end_and_nowhere_else():
    one, other = json.dumps(GOOD).encode(), json.dumps(GOOD | {"id": "e-2"}).encode()
    crossed = one.replace(b",", b"\n,", 1) + other
    with pytest.raises(ApiError, match="no JSON"):
        admitted(crossed)


@pytest.mark.parametrize(
    "event",
    [
        json.dumps(GOOD)[:-1] + ',"data":' + DEEP + ',"data":{"content_id":"s"}}',
        json.dumps({**GOOD, "data": {"content_id": "s", "deep": "DEEP"}}).replace('"DEEP"', DEEP),
    ],
)
def test_deep_event_is_found_among_shallow_ones_and_behind_a_key_said_twice(event: str):
    shallow = json.dumps({name: value for name, value in GOOD.items() if name != "data"} | {"type": "a.b"})
    body = ("[" + ",".join([event, *[shallow] * 60]) + "]").encode()
    admission = admitted(body)
    assert [(rejection.index, rejection.error) for rejection in admission.rejected] == [(0, "too_deep")]


@pytest.mark.parametrize(
    "event",
    [
        json.dumps(GOOD)[:-1] + " " * MAX_EVENT_BYTES + "}",
        json.dumps(GOOD)[:-1] + (',"data":{"content_id":"s","x":"' + "y" * 9_000 + '"}') * 4 + "}",
    ],
)
def test_event_that_is_large_in_what_a_decoder_drops_is_too_large(event: str):
    assert codes([GOOD]) == []
    body = f"[{json.dumps(GOOD)},{event}]".encode()
    assert [(r.index, r.error) for r in admitted(body).rejected] == [(1, "event_too_large")]


def test_string_without_an_end_is_looked_through_once():
    # Quadratic, this line would take seconds; the limit of the whole suite is no assertion on time.
    line = b"{" * 40 + b'"' + b'\\"' * 15_900
    good = json.dumps(GOOD).encode()
    assert codes(b"\n".join([good, *[line] * 30])) == ["invalid_json"] * 30


def deeper(calls: int, call: Callable[[], object]) -> object:
    return call() if calls == 0 else deeper(calls - 1, call)


def test_whatever_is_taken_is_read_by_readers_that_have_less_room():
    def accepted(depth: int) -> bytes | None:
        event = text('{"content_id":"c","x":' + "[" * depth + "]" * depth + "}")
        admission = admitted(b"[%b]" % event)
        return event if admission.accepted else None

    deepest = bisect.bisect_left(range(15_000), True, key=lambda depth: accepted(depth) is None) - 1
    event = accepted(deepest)
    assert event is not None
    assert deepest > 500
    body = assemble_chunk("app", [Part(event, 1, NOW_MS)]).decode()
    assert deeper(20, lambda: decode_chunk(body).events[0].id) == GOOD["id"]


def test_an_envelope_without_events_is_no_mistake():
    admission = admitted({"events": []})
    assert (admission.accepted, admission.rejected) == (0, [])


def test_a_type_that_ends_in_a_line_break_is_none():
    assert codes([GOOD | {"type": "content.viewed\n", "data": {}}]) == ["invalid_field"]


@pytest.mark.parametrize("form", ["%b", '{"events":[%b]}', "[%b]"])
def test_one_event_nested_too_deep_is_rejected_and_kept_whatever_the_form(form):
    admission = admitted(form.encode() % text('{"content_id":"c","x":' + DEEP + "}"))
    assert [rejection.error for rejection in admission.rejected] == ["too_deep"]
    assert len(admission.quarantined) == 1


@pytest.mark.parametrize("form", ["[%b]", '{"events":[%b]}'])
@pytest.mark.parametrize("last", [b"1", b'"\\ud800"'])
def test_elements_without_end_are_not_even_looked_at(form, last):
    with pytest.raises(ApiError) as refusal:
        admitted(form.encode() % (b"1," * 100_000 + last))
    assert refusal.value.code == "too_many_events"
