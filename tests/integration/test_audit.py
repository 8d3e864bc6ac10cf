"""The audit: silent where what is served is what was archived, and where it is not it says whose and what."""

import os
import threading
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from kinstream import keys
from kinstream.clock import now_ms
from kinstream.events import CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_VIEWED, Event, format_time_ms
from kinstream.ledger_format import decode_bucket, encode_bucket, partition_key, split_sort_key
from kinstream.resources import TABLE_COUNTERS, TABLE_LEDGER, TABLE_OUTBOX
from kinstream.views.sessions import GAP_MS
from kinstream_devkit.audit.run import Span
from session_worker.compaction.bucket import Bucket
from session_worker.compaction.compactor import CompactionSettings, Compactor
from session_worker.compaction.lease import Lease
from session_worker.compaction.merging import merge_files
from session_worker.domain.compaction import Policy
from tests.support.auditing import DATA, Bench, at, bench, midnight_ms, named, real_events
from tests.support.engine import message
from tests.support.ingest import App, Service
from tests.support.stack import kinstream

MINUTE_MS = 60_000
HOUR_MS = 60 * MINUTE_MS
DAY_MS = 24 * HOUR_MS


def an_evening(customer: str, start_ms: int) -> list[Event]:
    """Two sessions with views, a like that is taken back by another customer's device, a passive event."""
    kinds = [CONTENT_VIEWED, CONTENT_LIKED, "screen.viewed", "location.updated", CONTENT_VIEWED]
    return [
        at(
            start_ms + minute * MINUTE_MS,
            type=kinds[number % len(kinds)],
            customer_id=customer,
            device_id="ipad",
            data={"content_id": f"story-{number % 2}", "activity": ["reading", "\u00e9tude", 7][number % 3]},
        )
        for number, minute in enumerate([0, 1, 1, 5, 30, 61, 62, 93])
    ]


def utc_day(time_ms: int):
    return datetime.fromtimestamp(time_ms / 1000, UTC).date()


@pytest.mark.skipif(not DATA.exists(), reason=f"the real events are not beside the project: {DATA.name}")
async def test_real_events_through_engine_and_archive_show_no_drift(service: Service, app: App):
    events = real_events(3_000)
    async with bench(service, app) as worker:
        await worker.take(events)
        await worker.count(events[:500])
        await worker.archive(events[:500])
        result = await worker.audit()
    assert result.drifts == []
    assert (result.events, result.ambiguous) == (len(events), 0)
    assert result.counters_of_customers == result.customers == len({one.customer_id for one in events})
    assert result.sessions > result.customers
    assert result.counters_of_contents > 0


async def with_an_evening(worker: Bench) -> None:
    for number in range(3):
        await worker.take(an_evening(f"fam-{number}", midnight_ms(2) + 18 * HOUR_MS))
    assert (await worker.audit()).drifts == []


async def test_an_error_in_a_customers_counter_is_named(service: Service, app: App):
    async with bench(service, app) as worker:
        await with_an_evening(worker)
        key = keys.customer_counters(app.name, "fam-1")
        await worker.change(TABLE_COUNTERS, key, **{"type:screen.viewed": 99})
        found = await worker.audit()
    assert named(found) == {("customer", "fam-1", "screen.viewed")}
    assert [(drift.archived, drift.served) for drift in found.drifts] == [(2, 99)]


async def test_types_that_are_summed_are_compared_as_their_sum(
    service: Service, app: App, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("KINSTREAM_ACTIVITY_MOST_TYPES", "1")
    async with bench(service, app) as worker:
        await with_an_evening(worker)
        key = keys.customer_counters(app.name, "fam-1")
        counted = (await worker.engine.item(TABLE_COUNTERS, key))["type:(other)"]
        await worker.change(TABLE_COUNTERS, key, **{"type:(other)": counted + 1})
        found = await worker.audit()
    assert named(found) == {("customer", "fam-1", "(other)")}
    assert [(drift.archived, drift.served) for drift in found.drifts] == [(counted, counted + 1)]


async def test_an_entry_lost_from_the_ledger_is_named_by_its_session(service: Service, app: App):
    async with bench(service, app) as worker:
        await with_an_evening(worker)
        partition = partition_key(app.name, "activity", ["fam-2"])
        bucket_item = (await worker.items(TABLE_LEDGER, partition))[0]
        _, start_ms = split_sort_key(bucket_item["sk"])
        bucket = decode_bucket(start_ms, bucket_item["entries"], bucket_item["facts"], 1)
        bucket.facts.pop(max(entry for entry, fact in bucket.facts.items() if fact))
        entries, facts = encode_bucket(bucket)
        await worker.change(TABLE_LEDGER, (partition, bucket_item["sk"]), entries=entries, facts=facts)
        found = await worker.audit()
    start = format_time_ms(midnight_ms(2) + 18 * HOUR_MS)
    assert ("session", "fam-2", f"ipad {start} events") in named(found)
    assert {(drift.kind, drift.subject) for drift in found.drifts} == {("session", "fam-2")}


async def test_an_error_in_a_like_is_named(service: Service, app: App):
    async with bench(service, app) as worker:
        await with_an_evening(worker)
        changed = None
        for slot in range(keys.CONTENT_SLOTS):
            key = keys.content_counters(app.name, "story-1", slot)
            if likes := (await worker.engine.item(TABLE_COUNTERS, key)).get("likes"):
                await worker.change(TABLE_COUNTERS, key, likes=likes - 1)
                changed = slot
                break
        assert changed is not None
        found = await worker.audit()
    assert named(found) == {("content", "story-1", "likes")}


async def test_what_the_archive_knows_nothing_of_is_named(service: Service, app: App):
    async with bench(service, app) as worker:
        await with_an_evening(worker)
        await worker.count(an_evening("fam-lost", midnight_ms(1)))
        found = await worker.audit()
    assert {"session", "customer", "content"} == {drift.kind for drift in found.drifts}
    assert "fam-lost" in {drift.subject for drift in found.drifts}


async def test_likes_are_the_last_words_of_customers(service: Service, app: App):
    start_ms = midnight_ms(1)
    words = [CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_LIKED, CONTENT_UNLIKED]
    said = [
        at(
            start_ms + number,
            type=kind,
            customer_id=f"fam-{customer}",
            id=f"{customer}-{number}",
            data={"content_id": "s"},
        )
        for customer in range(5)
        for number, kind in enumerate(words[: customer + 1])
    ]
    async with bench(service, app) as worker:
        await worker.count(said[::-1])
        await worker.archive(said)
        result = await worker.audit()
    assert result.drifts == []
    assert result.counters_of_contents == 1


async def test_a_range_compares_its_sessions_and_only_counters_that_lie_in_it_wholly(
    service: Service, app: App
):
    start_ms = midnight_ms(5)
    async with bench(service, app) as worker:
        await worker.take(an_evening("fam-both", start_ms + HOUR_MS))
        await worker.take(an_evening("fam-both", start_ms + 3 * DAY_MS))
        await worker.take(an_evening("fam-day", start_ms + HOUR_MS))
        await worker.change(TABLE_COUNTERS, keys.customer_counters(app.name, "fam-both"), events=1_000)
        day = utc_day(start_ms)
        silent = await worker.audit(Span(day, day))
        await worker.change(TABLE_COUNTERS, keys.customer_counters(app.name, "fam-day"), events=1_000)
        found = await worker.audit(Span(day, day))
    assert silent.drifts == []
    assert (silent.customers, silent.partial_customers) == (2, 1)
    assert silent.sessions == 2 * 3
    assert named(found) == {("customer", "fam-day", "events")}


async def test_a_range_follows_a_run_of_events_back_to_where_it_began(service: Service, app: App):
    # Without a gap for five days: where each session is cut hangs on the first event of all.
    start_ms = midnight_ms(9) + 7 * HOUR_MS
    events = [
        at(start_ms + number * GAP_MS, customer_id="fam-on", device_id="hub") for number in range(5 * 48)
    ]
    async with bench(service, app) as worker:
        await worker.take(events)
        day = utc_day(start_ms + 4 * DAY_MS)
        result = await worker.audit(Span(day, day))
    assert result.drifts == []
    assert result.sessions == 1


class MovedMeanwhile:
    """S3 in which all of an app's files are merged and deleted at the moment when the first is asked for."""

    def __init__(self, s3: Any, bucket: str, folder: Path) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._folder = folder
        self._lock = threading.Lock()
        self.moved = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._s3, name)

    def get_object(self, **request: Any) -> Any:
        with self._lock:
            if not self.moved:
                self._move(request["Key"].partition("/dt=")[0])
        return self._s3.get_object(**request)

    def _move(self, prefix: str) -> None:
        found = self._s3.list_objects_v2(Bucket=self._bucket, Prefix=prefix)["Contents"]
        by_date = groupby((entry["Key"] for entry in found), key=lambda key: key.rpartition("/")[0])
        for partition, keys_of_date in by_date:
            sources = []
            for key in keys_of_date:
                sources.append(self._folder / str(self.moved))
                sources[-1].write_bytes(self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read())
                self._s3.delete_object(Bucket=self._bucket, Key=key)
                self.moved += 1
            merge_files(sources, self._folder / "merged")
            body = (self._folder / "merged").read_bytes()
            self._s3.put_object(Bucket=self._bucket, Key=f"{partition}/merged-1.parquet", Body=body)


async def test_files_that_are_merged_while_they_are_read_are_read_as_what_became_of_them(
    service: Service, app: App, tmp_path: Path
):
    async with bench(service, app) as worker:
        for number in range(4):
            await worker.take(an_evening(f"fam-{number}", midnight_ms(2 + number % 2)))
        moving = MovedMeanwhile(service.aws("s3"), worker.bucket, tmp_path)
        result = await worker.audit(s3=moving)
        files = await worker.files()
    assert moving.moved == 4
    assert len(files) == 2
    assert (result.drifts, result.events) == ([], 4 * 8)


async def test_rows_that_lie_in_old_and_merged_files_at_once_count_once(service: Service, app: App):
    async with bench(service, app) as worker:
        for number in range(4):
            await worker.take(an_evening(f"fam-{number}", midnight_ms(2)))
        names = service.settings.names
        lease = Lease(worker.dynamodb, names.of(TABLE_OUTBOX), app.name, now_ms)
        at_once = Policy(settle_ms=0, quiet_ms=0, fewest_files=2)
        bucket = Bucket(worker.s3, worker.bucket)
        await Compactor(bucket, lease, CompactionSettings(), now_ms, at_once).run()
        files = await worker.files()
        result = await worker.audit()
    assert len(files) == 5
    assert (result.drifts, result.events, result.ambiguous) == ([], 4 * 8, 0)


async def test_messages_that_are_under_way_are_waited_for_and_then_told_of(service: Service, app: App):
    late = [at(midnight_ms(1), customer_id="fam-late")]
    async with bench(service, app) as worker:
        await worker.count(late)
        sqs = service.aws("sqs")
        name = service.settings.names.processor_queue("archive")
        url = sqs.get_queue_url(QueueName=name)["QueueUrl"]
        sqs.send_message(QueueUrl=url, MessageBody=message(late, app.name).body)
        found = await worker.audit()
        (got,) = sqs.receive_message(QueueUrl=url)["Messages"]
        in_hand = await worker.audit()
        await worker.archive(late)
        sqs.delete_message(QueueUrl=url, ReceiptHandle=got["ReceiptHandle"])
        agreed = await worker.audit()
    assert (found.under_way, in_hand.under_way, agreed.under_way) == (1, 1, 0)
    assert found.drifts
    assert agreed.drifts == []


async def test_the_command_prints_whose_counter_drifts_and_exits_with_one(service: Service, app: App):
    settings = service.settings
    environment = os.environ | {
        "KINSTREAM_NAME_PREFIX": settings.name_prefix,
        "KINSTREAM_AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
    }
    command = ["audit", "--url", service.url, "--app", app.name, "--wait", "0"]
    async with bench(service, app) as worker:
        await worker.take(an_evening("fam-1", midnight_ms(1)))
        agreed = kinstream(*command, variables=environment)
        await worker.change(TABLE_COUNTERS, keys.customer_counters(app.name, "fam-1"), events=77)
        differs = kinstream(*command, variables=environment)
    assert (agreed.returncode, differs.returncode) == (0, 1), agreed.stdout + agreed.stderr + differs.stderr
    assert "no drift" in agreed.stdout
    lines = [line.split() for line in differs.stdout.splitlines()]
    assert ["customer", "fam-1", "events", "8", "77"] in lines, differs.stdout
