"""No item grows without end: one event a second for 30 days, through the processors' own facts and writes."""

from random import Random
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.memory_dynamodb import MAX_ITEM_BYTES
from benchmarks.units import item_bytes
from kinstream.dynamo import to_item
from kinstream.events import LOCATION_UPDATED, format_time_ms
from kinstream.ledger_format import (
    Bucket,
    bucket_start_ms,
    decode_bucket,
    encode_bucket,
    entry_of,
    partition_key,
    sort_key,
)
from kinstream.views.cardinality import register_of
from session_worker.engine.transaction import Remembered, TableNames, Transaction
from session_worker.processor import History, Stateful, discover
from session_worker.processors.activity import Activity
from session_worker.processors.content import Content
from session_worker.processors.safety import Safety
from tests.support.engine import APP, event

MOST_BYTES = 64 * 1024
START_MS = 1_795_284_000_000
DAYS_MS = 30 * 86_400_000
TABLES = TableNames("ledger", "counters", "records", "outbox")
PLACES = [{"latitude": 52.52, "longitude": 13.4, "radius_m": 150.0}]
random = Random(5)

NAMES = {
    "one story and one activity": lambda n: {"activity": "reading", "content_id": "story-1"},
    "300 stories": lambda n: {"activity": "reading", "content_id": f"story-{n % 300}"},
    "another story every second": lambda n: {"activity": "reading", "content_id": f"story-{n}"},
    "another story and activity every second": lambda n: {
        "activity": f"game-{n}",
        "content_id": f"story-{n}",
    },
    "another short random id every second": lambda n: {"content_id": f"{random.getrandbits(32):08x}"},
    "the longest names there are": lambda n: {
        "activity": "a" * 120 + str(n % 60),
        "content_id": "c" * 120 + str(n),
    },
}


def stored_bytes(processor: Stateful, bucket: Bucket) -> int:
    """Size of the item that the engine writes for the bucket."""
    transaction = Transaction(TABLES, slot=0, now_ms=START_MS)
    key = partition_key(APP, processor.name, ["fam-1"]), sort_key(["ipad-1"], bucket.start_ms)
    transaction.put_bucket(key, bucket, expires_at=START_MS // 1000)
    ((request,), _) = transaction.requests({}, lambda _: Remembered())
    return item_bytes(request["Put"]["Item"])


def full_bucket(processor: Stateful, kind: str, data_of) -> Bucket:
    """A bucket after one event a second for as long as it lasts."""
    bucket = Bucket(START_MS, due_at_ms=START_MS)
    for second in range(processor.bucket_seconds):
        at_ms = START_MS + 1000 * second
        one = event(
            id=str(UUID(int=random.getrandbits(128))),
            type=kind,
            occurred_at=format_time_ms(at_ms),
            data=data_of(second),
        )
        fact = processor.fact(one, PLACES) if isinstance(processor, Safety) else processor.fact(one)
        assert bucket.add(entry_of(one.id, 1000 * second, b"key"), fact)
    return bucket


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("processor", [Activity(), Content()], ids=lambda processor: processor.name)
def test_an_hour_of_one_event_a_second_stays_under_64_kilobytes(processor: Stateful, names: str):
    bucket = full_bucket(processor, "content.viewed", NAMES[names])
    assert stored_bytes(processor, bucket) < MOST_BYTES
    assert decode_bucket(bucket.start_ms, *encode_bucket(bucket), version=0).facts == bucket.facts


def test_random_ids_of_128_bits_every_second_stay_far_from_what_an_item_holds():
    # Each costs its 16 bytes and 8 of the entry: an hour of them cannot be 64 KB in any form.
    bucket = full_bucket(
        Activity(), "content.viewed", lambda _: {"content_id": str(UUID(int=random.getrandbits(128)))}
    )
    assert stored_bytes(Activity(), bucket) < MAX_ITEM_BYTES / 3


def test_a_fix_every_second_somewhere_unknown_stays_under_64_kilobytes():
    def wandering(_: int) -> dict:
        latitude, longitude = random.uniform(-50, 50), random.uniform(-170, 170)
        return {"person_id": "kid", "latitude": latitude, "longitude": longitude, "accuracy_m": 5}

    assert stored_bytes(Safety(), full_bucket(Safety(), LOCATION_UPDATED, wandering)) < MOST_BYTES


@given(st.integers(0, DAYS_MS), st.sampled_from([Activity(), Content(), Safety()]))
def test_no_bucket_of_thirty_days_takes_in_more_than_its_own_seconds(since_ms, processor):
    start_ms = bucket_start_ms(START_MS + since_ms, processor.bucket_seconds)
    edges_ms = start_ms - 1, start_ms, start_ms + 1000 * processor.bucket_seconds - 1
    held = [bucket_start_ms(time_ms, processor.bucket_seconds) == start_ms for time_ms in edges_ms]
    assert held == [False, True, True]
    assert bucket_start_ms(edges_ms[-1] + 1, processor.bucket_seconds) > start_ms


def test_every_stateful_processor_is_measured_here():
    assert {p.name for p in discover() if isinstance(p, Stateful)} == {"activity", "content", "safety"}


def test_a_content_that_millions_view_stays_under_64_kilobytes():
    # All registers that so many viewers can set in one slot; more viewers set hardly any others.
    registers = {register_of(f"fam-{number}") for number in range(1_000_000)}
    values = {"pk": "demo#content#story#0", "sk": "total", "views": 10**12, "likes": 10**9}
    assert item_bytes(to_item(values | {"viewers": registers})) < MOST_BYTES


def test_what_an_alert_costs_in_its_persons_head_is_known():
    """The head keeps every alert that late fixes may still change, seven weeks of them."""
    bucket = full_bucket(
        Safety(),
        LOCATION_UPDATED,
        lambda n: {
            "person_id": "kid",
            "latitude": 52.52 if n % 20 == 0 else 52.6,
            "longitude": 13.4,
            "accuracy_m": 5,
        },
    )
    key = Safety().key(
        event(
            type=LOCATION_UPDATED,
            data={"person_id": "kid", "latitude": 52.5, "longitude": 13.4, "accuracy_m": 5},
        )
    )
    replayed = Safety().replay(APP, key, History(b"", b"", [bucket], 0, 0), START_MS)
    alerts = msgspec.msgpack.decode(replayed.head)
    assert len(alerts) == Safety.bucket_seconds // 20
    assert len(replayed.head) / len(alerts) < 80
