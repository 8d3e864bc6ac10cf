"""Names of events in other protocols, as native types."""

import json
import re
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.dialects.naming import MAX_TYPE_CHARACTERS, event_type
from ingest_api.dialects.parts import elements_of, fields_of, text_in
from ingest_api.dialects.translation import (
    clock_skew_ms,
    data_of,
    digest,
    identifier,
    native_event,
    occurred_at,
    translate_each,
)
from ingest_api.errors import ApiError
from ingest_api.judgement import BadEvent, judge
from kinstream.events import EventType

PATTERN = next(meta.pattern for meta in get_args(EventType) if getattr(meta, "pattern", None))
WORDS = st.lists(st.from_regex(r"[A-Z][a-z]{1,9}", fullmatch=True), min_size=2, max_size=5)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("content.viewed", "content.viewed"),
        ("Content Viewed", "content.viewed"),
        ("contentViewed", "content.viewed"),
        ("content-viewed", "content.viewed"),
        (" Content  VIEWED!", "content.viewed"),
        ("Order Completed", "order.completed"),
        ("Products Searched", "products.searched"),
        ("Added To Cart", "added_to.cart"),
        ("ProductID Viewed", "product_id.viewed"),
        ("v2Clicked", "v2.clicked"),
        ("signup", "event.signup"),
        ("3d Viewed", "event_3d.viewed"),
        ("42", "event.42"),
        ("Märchen gelesen", "marchen.gelesen"),
        ("app.screen.opened", "app.screen.opened"),
    ],
)
def test_a_name_becomes_a_noun_and_a_verb(name, expected):
    assert event_type(name) == expected


def test_a_single_word_takes_the_noun_of_its_dialect():
    assert event_type("signup", "customer") == "customer.signup"


def test_names_that_a_type_cannot_hold_stay_apart():
    names = [
        "観た",
        "見た",
        "Просмотр видео",
        "Просмотр фото",
        "日本 Viewed",
        "中国 Viewed",
        "!!!",
        "???",
        "",
    ]
    assert len({event_type(name) for name in names}) == len(names)


def test_names_too_long_stay_apart():
    names = [start + "x" * 2_000 + end for start in ("", "a ") for end in ("1", "2", " viewed")]
    found = {event_type(name) for name in names}
    assert len(found) == len(names)
    assert {len(name) for name in found} == {MAX_TYPE_CHARACTERS}


def test_a_name_is_read_no_further_than_a_type_can_hold_and_still_tells_names_apart():
    late = [" " * 300 + word for word in ("Content Viewed", "Content Liked")]
    found = [event_type(name) for name in late]
    assert found[0] != found[1]
    assert all(re.fullmatch(r"event\.[0-9a-f_]{8,17}", name) for name in found)
    # One such letter becomes 18 when it is taken apart.
    assert event_type("\ufdfa" * 290 + "1") != event_type("\ufdfa" * 290 + "2")


@given(st.text() | st.text(alphabet="aB1_. -", max_size=150))
def test_whatever_the_name_the_type_is_native_and_stays_itself(name):
    found = event_type(name)
    assert re.fullmatch(PATTERN, found)
    assert len(found) <= MAX_TYPE_CHARACTERS
    assert event_type(found) == found


@given(WORDS)
def test_ways_of_writing_the_same_words_are_one_type(words):
    spaced = event_type(" ".join(words))
    assert event_type("".join(words)) == spaced
    assert event_type("_".join(words).lower()) == spaced
    assert event_type(" ".join(words).upper()) == spaced


def test_properties_keep_their_own_bytes_beside_what_the_client_said():
    raw = b'{ "n": 1.0, "big": 123456789012345678901234567890 }'
    told = {"dialect": "x", "empty": "", "none": None, "nothing": {}, "zero": 0, "raw": msgspec.Raw(b"{}")}
    data = bytes(data_of(raw, told))
    assert data.startswith(b'{"n": 1.0, "big": 123456789012345678901234567890,')
    assert json.loads(data)["_client"] == {"dialect": "x", "zero": 0}


@pytest.mark.parametrize("nothing", [None, b"", b"null", b"{}", b" { } "])
def test_without_properties_the_data_is_what_the_client_said(nothing):
    assert bytes(data_of(nothing, {"dialect": "x"})) == b'{"_client":{"dialect":"x"}}'


def test_a_clients_own_field_of_that_name_gives_way():
    data = bytes(data_of(b'{"_client": {"dialect": "forged"}, "a": 1}', {"dialect": "x"}))
    assert data.count(b'"_client"') == 1
    assert json.loads(data) == {"a": 1, "_client": {"dialect": "x"}}


@pytest.mark.parametrize("wrong", [b"[]", b"5", b'"x"'])
def test_properties_that_are_no_object_are_refused(wrong):
    with pytest.raises(BadEvent, match="properties: expected a JSON object") as refused:
        data_of(wrong, {})
    assert refused.value.code == "invalid_field"


def test_a_native_event_is_one_that_admission_takes():
    raw = native_event(
        event_id="1",
        event_type="content.viewed",
        customer_id="fam",
        occurred_at="2026-11-20T18:04:05Z",
        device_id="ipad",
        properties=b'{"content_id": "s", "person_id": "kid"}',
        client={},
    )
    event = judge(raw)
    assert (event.id, event.customer_id, event.device_id, event.person_id) == ("1", "fam", "ipad", "kid")
    assert json.loads(bytes(event.data)) == {"content_id": "s", "person_id": "kid", "_client": {}}


def test_the_hash_of_an_event_is_that_of_what_it_says_in_any_order():
    said = {"a": 1, "raw": msgspec.Raw(b'{"x": [1]}'), "empty": None}
    assert digest(said) == digest({"raw": msgspec.Raw(b'{"x":[1]}'), "a": 1, "nothing": msgspec.Raw(b"")})
    assert digest(said) != digest(said | {"a": 2})
    assert len(digest({})) == 64


@pytest.mark.parametrize(("value", "expected"), [(None, ""), ("", ""), ("a", "a"), (7, "7")])
def test_identifiers_are_texts_or_whole_numbers(value, expected):
    assert identifier(value, "userId") == expected


@pytest.mark.parametrize("value", [True, 1.5, [], {}, "x" * 129, 10**128])
def test_other_identifiers_are_refused_by_their_name(value):
    with pytest.raises(BadEvent, match=r"^userId: ") as refused:
        identifier(value, "userId")
    assert refused.value.code == "invalid_field"


def test_a_time_is_never_rewritten_unless_it_is_a_number():
    assert occurred_at("20. November", "timestamp") == "20. November"
    assert occurred_at(1_795_262_932_565, "timestamp") == "2026-11-21T12:08:52.565Z"
    assert occurred_at(0.0, "timestamp") == "1970-01-01T00:00:00.000Z"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "missing_field"),
        ("", "missing_field"),
        (True, "occurred_at_invalid"),
        (-1, "occurred_at_invalid"),
        (float("inf"), "occurred_at_invalid"),
        (10**300, "occurred_at_invalid"),
        ({}, "occurred_at_invalid"),
    ],
)
def test_what_is_no_time_is_refused(value, code):
    with pytest.raises(BadEvent, match=r"^timestamp: ") as refused:
        occurred_at(value, "timestamp")
    assert refused.value.code == code


def test_the_clocks_skew_is_how_far_the_client_is_ahead():
    assert clock_skew_ms("1970-01-01T00:00:05Z", 3_000) == 2_000
    assert clock_skew_ms(1_000, 3_000) == -2_000
    for wrong in (None, "", "soon", "2026-11-20 18:04", {}, -5, "9" * 5_000):
        assert clock_skew_ms(wrong, 3_000) is None


BROKEN = (b'{"a":"\\ud83d"}', b'{"a":"\xff"}')


@pytest.mark.parametrize("broken", BROKEN)
def test_one_broken_text_harms_no_neighbour(broken):
    good = b'{"b": 1}'
    body = b'{"batch": [%b , %b], "writeKey":"k"} ' % (broken, good)
    fields = fields_of(body, "batch", "writeKey", "missing")
    assert (set(fields), fields["writeKey"]) == ({"batch", "writeKey"}, b'"k"')
    assert elements_of(fields["batch"]) == [broken, good]
    items = translate_each([broken, good], lambda raw: msgspec.json.encode(msgspec.json.decode(raw)))
    assert (items[0].verdict.code, items[0].original, items[1]) == ("invalid_json", broken, b'{"b":1}')


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"x",
        b"[1",
        b"{",
        b'{"a"',
        b'{"a":}',
        b'{"a":1,}',
        b"[1]",
        b'{"a":1} 2',
        b'{1:"\\ud83d"}',
        b"[" * 100_000,
    ],
)
def test_what_is_no_object_is_refused_whole(wrong):
    with pytest.raises(ApiError) as refused:
        fields_of(wrong)
    assert (refused.value.status, refused.value.code) == (400, "invalid_json")


def test_what_is_no_array_is_refused_whole():
    for wrong in (b"", b"{}", b'["\\ud83d"', b'["\\ud83d",]', b'["\\ud83d" 1]', b"[" * 100_000):
        with pytest.raises(ApiError):
            elements_of(wrong)


@pytest.mark.parametrize("broken", [*BROKEN, b"[" * 1_100 + b"]" * 1_100])
def test_an_id_is_found_however_broken_its_neighbours_are(broken):
    found = text_in(b'{"x": %b, "id": "1"}' % broken, "id")
    assert found == (None if broken[:2] == b"[[" else "1")
    for wrong in (b'{"id": "\\ud83d"}', b'{"id": 1, "x": %b}' % broken, b'["\\ud83d"]', b"", b"5"):
        assert text_in(wrong, "id") is None


NAMES = st.text("abcö $_", max_size=3)


@given(st.dictionaries(NAMES, st.text() | st.integers() | st.lists(st.text())), st.sets(NAMES))
def test_both_ways_of_taking_a_body_apart_agree(said, wanted):
    raws = {name: json.dumps(value).encode() for name, value in said.items()}
    inside = b"".join(b", %b : %b" % (json.dumps(name).encode(), raw) for name, raw in raws.items())
    expected = {name: raw for name, raw in raws.items() if name in wanted}
    assert fields_of(b'{"half": ""' + inside + b"}", *wanted) == expected
    # Half of a surrogate pair sends the same body the patient way.
    assert fields_of(b'{"half": "\\ud83d"' + inside + b"}", *wanted) == expected
