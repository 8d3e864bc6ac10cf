"""The ledger's bytes: a set, whatever order its members came in, and keys that never collide."""

from array import array
from itertools import permutations

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from kinstream import ledger_format
from kinstream.errors import PermanentError
from kinstream.ledger_format import (
    Bucket,
    bucket_start_ms,
    decode_bucket,
    encode_bucket,
    entry_of,
    join_key,
    offset_ms_of,
    sort_key,
    split_key,
    split_sort_key,
)

HOUR_MS = 3_600_000
facts = st.one_of(
    st.just(()),
    st.tuples(st.text(max_size=8), st.text(max_size=8)),
    st.tuples(st.integers(0, 2), st.floats(-180, 180), st.floats(-90, 90)),
)
members = st.dictionaries(st.tuples(st.text(max_size=5), st.integers(0, HOUR_MS - 1)), facts, max_size=40)


def bucket_of(rows) -> Bucket:
    bucket = Bucket(0)
    for (event_id, offset_ms), fact in rows:
        bucket.add(entry_of(event_id, offset_ms, b"key"), fact)
    return bucket


@given(members, st.randoms(use_true_random=False))
def test_same_set_gives_same_bytes_in_any_order(rows, random):
    shuffled = list(rows.items())
    random.shuffle(shuffled)
    assert encode_bucket(bucket_of(rows.items())) == encode_bucket(bucket_of(shuffled + shuffled))


@given(members)
def test_decoding_gives_back_what_was_encoded(rows):
    bucket = bucket_of(rows.items())
    entries, encoded_facts = encode_bucket(bucket)
    assert decode_bucket(0, entries, encoded_facts, 7) == Bucket(0, bucket.facts, version=7)
    assert len(entries) == 8 * len(bucket.facts)


@given(st.text(), st.integers(0, (1 << 22) - 1))
def test_entry_keeps_its_offset_and_fits_eight_bytes(event_id, offset_ms):
    entry = entry_of(event_id, offset_ms, b"key")
    assert offset_ms_of(entry) == offset_ms
    assert entry < 1 << 64


def test_hash_hangs_on_the_secret_key():
    assert entry_of("a", 5, b"one") != entry_of("a", 5, b"other")


def test_entry_is_added_once():
    bucket = Bucket(0)
    assert bucket.add(1, ("x", ""))
    assert not bucket.add(1, ("y", ""))
    assert bucket.facts == {1: ("x", "")}


def test_bucket_that_is_full_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger_format, "MAX_ENTRIES", 2)
    bucket = bucket_of([(("a", 1), ()), (("b", 2), ())])
    with pytest.raises(PermanentError, match="more than 2 events"):
        bucket.add(entry_of("c", 3, b"key"), ())


def test_timeline_orders_equal_times_by_fact_and_not_by_hash():
    rows = [(("a", 5), ("zoo", "")), (("b", 5), ("art", "")), (("c", 1), ("end", ""))]
    for order in permutations(rows):
        assert [fact[0] for _, fact in bucket_of(order).timeline()] == ["end", "art", "zoo"]


@given(st.dictionaries(st.tuples(st.text(max_size=5), st.integers(0, HOUR_MS - 1)), facts, max_size=300))
def test_facts_stored_before_they_were_compressed_are_still_read(rows):
    bucket = bucket_of(rows.items())
    order = sorted(bucket.facts)
    table = sorted(set(bucket.facts.values()), key=repr)
    codes = array("B" if len(table) <= 256 else "H", (table.index(bucket.facts[entry]) for entry in order))
    plain = msgspec.msgpack.encode((table, codes.typecode, codes.tobytes()))
    assert decode_bucket(0, encode_bucket(bucket)[0], plain, 1).facts == bucket.facts


@given(facts=st.lists(facts, max_size=300), width=st.sampled_from("BH"), codes=st.binary(max_size=600))
def test_plain_facts_never_look_compressed(facts, width, codes):
    plain = msgspec.msgpack.encode((facts, width, codes))
    # Three things in a list: msgpack says so in the first byte, whatever they are.
    assert plain[0] == 0x93
    assert zstandard.FRAME_HEADER[0] != plain[0]


def test_facts_beyond_what_an_item_may_hold_are_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(ledger_format, "MAX_FACTS_BYTES", 300)
    with pytest.raises(PermanentError, match="more than 300 bytes of facts"):
        encode_bucket(bucket_of(((f"event-{n}", n), ("reading", f"story-{n}")) for n in range(40)))


def test_hour_at_one_event_a_second_stays_under_64_kilobytes():
    names = [("reading", f"story-{n}") for n in range(300)]
    bucket = bucket_of(((f"event-{n}", n * 1000), names[n % 300]) for n in range(3_600))
    assert sum(map(len, encode_bucket(bucket))) < 64 * 1024


@given(st.lists(st.text(max_size=6), min_size=1, max_size=4))
def test_key_gives_back_its_parts(parts):
    assert split_key(join_key(*parts)) == parts


@given(st.lists(st.text(max_size=6), min_size=1, max_size=3), st.integers(0, 10**10))
def test_sort_key_gives_back_series_and_start(series, seconds):
    assert split_sort_key(sort_key(series, seconds * 1000)) == (series, seconds * 1000)


@given(st.text(max_size=6), st.integers(0, 10**10), st.integers(0, 10**10))
def test_sort_keys_of_one_series_sort_by_time(series, one, other):
    keys = sort_key([series], one * 1000), sort_key([series], other * 1000)
    assert (keys[0] < keys[1]) == (one < other)


@given(st.integers(0, 10**14), st.integers(1, 4_000))
def test_bucket_holds_its_time(time_ms, seconds):
    start_ms = bucket_start_ms(time_ms, seconds)
    assert start_ms <= time_ms < start_ms + seconds * 1000
