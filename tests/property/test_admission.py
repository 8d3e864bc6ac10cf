"""Admission against a plain reading of the same events, and against any bytes at all."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ingest_api.admission import Admission, admit
from ingest_api.errors import ApiError
from kinstream.chunks import assemble_chunk, decode_chunk
from kinstream.events import ClientEvent, format_time_ms

NOW_MS = 1_795_197_845_123
RETENTION_MS = 35 * 86_400_000

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | names,
    lambda inner: st.lists(inner, max_size=3),
)
times = st.integers(NOW_MS - 2 * RETENTION_MS, NOW_MS + 600_000).map(format_time_ms)
good = st.fixed_dictionaries(
    {
        "id": names,
        "type": st.sampled_from(["content.viewed", "screen.viewed", "app.opened"]),
        "customer_id": names,
        "occurred_at": times,
        "data": st.dictionaries(names, values, max_size=3).map(lambda data: data | {"content_id": "c"}),
    },
    optional={"device_id": names, "person_id": names},
)
broken = good.flatmap(
    lambda event: st.sampled_from(
        [
            {name: event[name] for name in event if name != "id"},
            event | {"extra": 1},
            event | {"customer_id": 7},
            event | {"data": "text"},
            event | {"occurred_at": "never"},
            ["no", "event"],
        ]
    )
)
events = st.lists(good | broken, max_size=12)


def admitted(body: bytes) -> Admission:
    return admit(body, NOW_MS, RETENTION_MS)


def outcome(admission: Admission) -> tuple[Any, ...]:
    rejected = [(r.index, r.id, r.error, r.detail) for r in admission.rejected]
    return admission.accepted, rejected, admission.types, travelled(admission)


def travelled(admission: Admission) -> list[Any]:
    chunk = decode_chunk(assemble_chunk("app", admission.parts).decode())
    return [
        (e.id, e.occurred_at, e.occurred_at_ms, e.counted, json.loads(bytes(e.data))) for e in chunk.events
    ]


@given(events, st.booleans())
def test_a_batch_is_judged_as_its_events_are_one_by_one(batch, ascii_only):
    whole = admitted(json.dumps(batch, ensure_ascii=ascii_only).encode())
    alone = [admitted(json.dumps([event], ensure_ascii=ascii_only).encode()) for event in batch]
    assert whole.accepted == sum(admission.accepted for admission in alone)
    assert [(r.index, r.error, r.detail) for r in whole.rejected] == [
        (index, r.error, r.detail) for index, admission in enumerate(alone) for r in admission.rejected
    ]
    assert travelled(whole) == [event for admission in alone for event in travelled(admission)]


@given(events.filter(lambda batch: any(isinstance(event, dict) for event in batch)))
def test_every_form_of_the_same_events_gives_the_same(batch):
    array = outcome(admitted(json.dumps(batch).encode()))
    assert outcome(admitted(json.dumps({"events": batch}).encode())) == array
    assert outcome(admitted(json.dumps(batch, indent=2, ensure_ascii=False).encode())) == array
    if len(batch) > 1:
        assert outcome(admitted(b"\n".join(json.dumps(event).encode() for event in batch))) == array


class NoRules:
    """Changes nothing, and sends every event the patient way."""

    concern_events = True

    def apply(self, event: ClientEvent, raw: bytes) -> bytes:
        return raw

    def scrub(self, raw: bytes) -> bytes | None:
        return raw


@given(st.lists(good | broken, min_size=1, max_size=6), st.data())
def test_the_fast_way_takes_nothing_that_the_patient_way_would_not(batch, data):
    body = bytearray(json.dumps(batch).encode())
    if data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(
            st.sampled_from([b"", b"]", b"],[", b"}", b"{", b","])
        )
    raw = bytes(body) or b" "
    fast = _outcome_or_refusal(raw, None)
    assert fast == _outcome_or_refusal(raw, NoRules())


def _outcome_or_refusal(body: bytes, rules: NoRules | None) -> Any:
    try:
        return outcome(admit(body, NOW_MS, RETENTION_MS, rules))
    except ApiError as refusal:
        return refusal.code


@given(st.lists(good, max_size=12))
def test_each_good_event_is_taken_or_out_of_the_window(batch):
    admission = admitted(json.dumps(batch).encode())
    assert [(e[0], e[1], e[4]) for e in travelled(admission)] == [
        (event["id"], event["occurred_at"], event["data"]) for event in batch
    ]
    assert {r.error for r in admission.rejected} <= {"occurred_at_in_future", "occurred_at_too_old"}
    assert len(admission.rejected) == len(admission.quarantined) == len(batch) - admission.accepted


@given(st.lists(good | broken, min_size=1, max_size=4), st.data())
def test_a_body_damaged_anywhere_is_judged_or_refused_and_nothing_else(batch, data):
    body = bytearray(json.dumps(batch, ensure_ascii=False).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(body) - 1))
        body[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=3))
        body = body or bytearray(b" ")
    _judged_or_refused(bytes(body))


@given(st.binary(max_size=200) | st.text('[]{}",:\\ud80c \n1e9-.NaIntrufls', max_size=80).map(str.encode))
def test_any_bytes_are_judged_or_refused_and_nothing_else(body):
    _judged_or_refused(body)


def _judged_or_refused(body: bytes) -> None:
    try:
        admission = admitted(body)
    except ApiError as refusal:
        admission, status = None, refusal.status
    if admission is None:
        assert status in {400, 413}
    else:
        assert len(travelled(admission)) >= admission.accepted
        assert len(admission.rejected) == len(admission.quarantined)


def test_brackets_inside_of_strings_hide_no_deep_nesting():
    opened, closed = "[" * 5_000, "]" * 5_000
    event = {"id": "a", "type": "a.b", "customer_id": "c", "occurred_at": format_time_ms(NOW_MS)}
    deep = f'{opened}"{"]" * 9_000}",{opened}{closed},"{"[" * 2_000}"{closed}'
    body = json.dumps(event)[:-1] + f',"data":{{"x":{deep}}}}}'
    admission = admit(f"[{body},{json.dumps(event)}]".encode(), NOW_MS, RETENTION_MS)
    assert [(rejection.index, rejection.error) for rejection in admission.rejected] == [(0, "too_deep")]
    assert admission.accepted == 1
