"""Times, chunks and items: what goes in comes out, and what cannot travel is escaped or refused."""

import base64
import math
import re
from datetime import UTC, datetime

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kinstream.chunks import Chunk, decode_chunk, encode_chunk, types_attribute
from kinstream.dynamo import from_item, to_item
from kinstream.errors import PermanentError
from kinstream.events import format_time_ms, parse_time_ms
from kinstream.registry import create_key, parse_key
from kinstream.views.cardinality import estimate, register_of
from kinstream.views.trending import current_score, partitions, row_key, shard_of, stored_score, year_of
from tests.support.engine import event


@given(st.integers(0, 253_402_300_799_999))
def test_time_survives_being_written_and_read(time_ms):
    assert parse_time_ms(format_time_ms(time_ms)) == time_ms


def test_time_is_read_with_any_offset():
    assert parse_time_ms("2026-11-20T20:04:05.1234+02:00") == parse_time_ms("2026-11-20T18:04:05.123Z")


@pytest.mark.parametrize("text", ["2026-11-20T18:04:05", "yesterday", "", "2026-13-01T00:00:00Z"])
def test_time_without_offset_or_sense_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011 - the text is the standard library's
        parse_time_ms(text)


@given(st.text(max_size=20), st.booleans())
def test_chunk_travels_in_characters_that_need_no_escape(text, counted):
    sent = Chunk(
        app="demo",
        events=[
            event(id="a", customer_id=text, data={"note": text}),
            msgspec.structs.replace(event(id="b"), counted=counted, received_at_ms=7),
        ],
    )
    body = encode_chunk(sent)
    assert decode_chunk(body) == sent
    assert re.fullmatch("[A-Za-z0-9_-]+", body)


def packed(text: str) -> str:
    return base64.urlsafe_b64encode(zstandard.ZstdCompressor().compress(text.encode())).decode().rstrip("=")


DEEP = '{"app":"a","parts":[{"received_at_ms":1,"events":[{"data":' + "[" * 100_000 + "]" * 100_000 + "}]}]}"


@pytest.mark.parametrize(
    "body",
    [
        packed(DEEP),
        "",
        "null",
        '{"app":"a","parts":[]}',
        packed('{"app":1,"parts":[]}'),
        packed('{"app":"a","parts":[1]}'),
        packed(""),
        packed('{"app":"a","parts":[]}')[:-4],
        packed('{"app":"a","parts":[]' + " " * 2_000_000 + "}"),
        "\u00e9" * 40,
    ],
)
def test_body_that_is_no_chunk_is_refused_for_good(body):
    with pytest.raises(PermanentError, match="no chunk"):
        decode_chunk(body)


def test_types_of_a_chunk_are_listed_once_each():
    events = [event(type="b.c"), event(type="a.b"), event(type="b.c")]
    assert types_attribute(events) == {"DataType": "String.Array", "StringValue": '["a.b", "b.c"]'}


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.text() | st.binary(min_size=1),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
)


@given(st.dictionaries(st.text(), values, max_size=5))
def test_item_gives_back_its_values(item):
    assert from_item(to_item(item)) == item


@given(
    st.sets(st.integers(), min_size=1), st.just(0.0) | st.floats(1e-130, 1e125) | st.floats(-1e125, -1e-130)
)
def test_item_gives_back_sets_and_floats(numbers, number):
    assert from_item(to_item({"set": numbers, "float": number})) == {"set": numbers, "float": number}


@pytest.mark.parametrize("number", [5e-324, 1e-131, -1e-200])
def test_number_too_small_for_dynamodb_becomes_the_smallest_it_holds(number):
    assert to_item({"x": number}) == {"x": {"N": repr(math.copysign(1e-130, number))}}


def test_key_tells_its_app_and_kind_and_nothing_of_itself():
    text, public = create_key("my_app", "secret")
    assert parse_key(text) == public
    assert (public.app, public.kind) == ("my_app", "secret")
    assert text not in repr(public)


@pytest.mark.parametrize("text", ["", "kw_", "kw_app_short", "xx_app_" + "a" * 32, "kw_" + "a" * 300])
def test_text_that_is_no_key_is_refused(text):
    with pytest.raises(PermanentError, match="no Kinstream key"):
        parse_key(text)


@pytest.mark.parametrize("size", [0, 1, 10, 100, 1_000, 50_000])
def test_distinct_members_are_estimated_within_a_fifth(size):
    registers = {register_of(f"member-{number}") for number in range(size)}
    assert abs(estimate(registers) - size) <= max(1, size / 5)


NOW_MS = int(datetime(2026, 11, 21, tzinfo=UTC).timestamp() * 1000)
WEEK_MS = 7 * 86_400_000


def test_score_halves_in_a_week():
    stored = stored_score(1, NOW_MS)
    assert math.isclose(current_score(stored, 2026, NOW_MS), 1, rel_tol=1e-3)
    assert math.isclose(current_score(stored, 2026, NOW_MS + WEEK_MS), 0.5, rel_tol=1e-3)


def test_scores_of_two_years_are_on_one_scale():
    new_year_ms = int(datetime(2027, 1, 1, tzinfo=UTC).timestamp() * 1000)
    before, after = stored_score(1, new_year_ms - 1), stored_score(1, new_year_ms)
    assert math.isclose(
        current_score(before, 2026, new_year_ms), current_score(after, 2027, new_year_ms), rel_tol=1e-2
    )
    assert {partition.year for partition in partitions("a", new_year_ms)} == {2026, 2027}


def test_row_lies_in_a_partition_that_readers_ask():
    assert shard_of("a", year_of(NOW_MS), "s") in {partition.shard for partition in partitions("a", NOW_MS)}
    assert row_key("a", 2026, "s") != row_key("a", 2025, "s")
