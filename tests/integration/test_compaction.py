"""Compaction of the archive: fewer files, the same events, whoever dies and whoever reads meanwhile."""

import asyncio
import io
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest

from kinstream.aws import AwsClients
from kinstream.clock import now_ms
from kinstream.events import CONTENT_VIEWED
from kinstream.resources import BUCKET_ARCHIVE, TABLE_OUTBOX
from kinstream.settings import CoreSettings
from kinstream_devkit.embedded.prerequisites import java_problem
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from recommender_trigger.archive import ArchiveCensus
from recommender_trigger.domain.trigger import Policy as TrainingPolicy
from recommender_trigger.settings import TriggerSettings
from session_worker.compaction.bucket import Bucket
from session_worker.compaction.compactor import CompactionSettings, Compactor
from session_worker.compaction.lease import Lease
from session_worker.compaction.merging import merge_files
from session_worker.domain.compaction import FILES, MERGES, Policy
from session_worker.processors.archive import SCHEMA, Archive
from tests.support.engine import event

PARTITION = "events/app=demo/dt=2026-11-20"
AT_ONCE = Policy(settle_ms=0, quiet_ms=0, fewest_files=2)
HOUR_MS = 3_600_000
STAY_MS = int(CompactionSettings().stay_seconds * 1000)


class Death(BaseException):
    """The worker is killed."""


class MortalBucket(Bucket):
    """Dies instead of a call, or after it."""

    def __init__(self, s3: Any, name: str, dies_at: str = "", *, afterwards: bool = False) -> None:
        super().__init__(s3, name)
        self._dies_at = dies_at
        self._afterwards = afterwards

    async def write(self, key: str, body: bytes | Path) -> None:
        kind = "note" if key.startswith(MERGES) else "target"
        if self._dies_at == kind and not self._afterwards:
            raise Death
        await super().write(key, body)
        if self._dies_at == kind:
            raise Death

    async def delete(self, keys: Any) -> None:
        doomed = list(keys)
        kind = "delete note" if doomed[0].startswith(MERGES) else "delete sources"
        if self._dies_at == kind:
            await super().delete(doomed if self._afterwards else doomed[: len(doomed) // 2])
            raise Death
        await super().delete(doomed)


@dataclass
class Store:
    """The archive of one test and a clock that it can move."""

    s3: Any
    dynamodb: Any
    settings: CoreSettings
    ahead_ms: int = 0

    def now_ms(self) -> int:
        """The clock's time and what it was moved."""
        return now_ms() + self.ahead_ms

    @property
    def bucket(self) -> str:
        """The archive's name."""
        return self.settings.names.of(BUCKET_ARCHIVE)

    def compactor(self, owner: str = "one", bucket: Bucket | None = None) -> Compactor:
        """A compactor that finds everything worth a merge."""
        lease = Lease(self.dynamodb, self.settings.names.of(TABLE_OUTBOX), owner, self.now_ms)
        return Compactor(
            bucket or Bucket(self.s3, self.bucket), lease, CompactionSettings(), self.now_ms, AT_ONCE
        )

    async def put(self, count: int, start: int = 0) -> None:
        """So many files of three events each."""
        for number in range(start, start + count):
            events = [event(id=f"e-{number}-{n}", customer_id=f"fam-{n}") for n in range(3)]
            for file in Archive().files(f"batch-{number:03d}", {"demo": events}):
                await self.s3.put_object(Bucket=self.bucket, Key=file.key, Body=file.body)

    async def keys(self, prefix: str = FILES) -> list[str]:
        """What is there."""
        answer = await self.s3.list_objects_v2(Bucket=self.bucket, Prefix=prefix)
        return [entry["Key"] for entry in answer.get("Contents", [])]

    async def body(self, key: str) -> bytes:
        """An object."""
        answer = await self.s3.get_object(Bucket=self.bucket, Key=key)
        async with answer["Body"] as body:
            return await body.read()

    async def ids(self) -> Counter[str]:
        """How often each event is there, over all files."""
        found: Counter[str] = Counter()
        for key in await self.keys():
            found.update(pq.read_table(io.BytesIO(await self.body(key)), columns=["id"])["id"].to_pylist())
        return found


@asynccontextmanager
async def store(settings: CoreSettings) -> AsyncIterator[Store]:
    provision(settings, processor_queues())
    async with AwsClients(settings) as aws:
        yield Store(await aws.open("s3"), await aws.open("dynamodb"), settings)


def expected_ids(files: int) -> set[str]:
    return {f"e-{number}-{n}" for number in range(files) for n in range(3)}


async def run_on(archive: Store, compactor: Compactor) -> None:
    for _ in range(3):
        await compactor.run()
        archive.ahead_ms += STAY_MS


async def test_many_small_files_become_one_and_the_old_ones_go_after_the_grace(settings: CoreSettings):
    async with store(settings) as archive:
        await archive.put(30)
        compactor = archive.compactor()
        assert await compactor.run() == 1
        during = await archive.keys()
        # A training may have listed them just before, and take as long as its trigger lets it.
        archive.ahead_ms += int(TriggerSettings().training_max_run_seconds * 1000)
        assert await compactor.run() == 0
        assert await archive.keys() == during
        archive.ahead_ms += STAY_MS
        await compactor.run()
        (merged,) = await archive.keys()
        assert len(during) == 31
        assert await archive.ids() == Counter(expected_ids(30))
        assert await archive.keys(MERGES) == []
        assert merged.startswith(f"{PARTITION}/merged-")


@pytest.mark.parametrize("afterwards", [False, True])
@pytest.mark.parametrize("dies_at", ["note", "target", "delete sources", "delete note"])
async def test_a_compactor_killed_at_any_step_loses_nothing_and_another_goes_on(
    settings: CoreSettings, dies_at: str, *, afterwards: bool
):
    async with store(settings) as archive:
        await archive.put(12)
        mortal = MortalBucket(archive.s3, archive.bucket, dies_at, afterwards=afterwards)
        with pytest.raises(Death):
            await run_on(archive, archive.compactor("mortal", mortal))
        assert (await archive.ids()).keys() == expected_ids(12)
        for _ in range(3):
            archive.ahead_ms += STAY_MS
            await archive.compactor("heir").run()
            assert (await archive.ids()).keys() == expected_ids(12)
        assert await archive.ids() == Counter(expected_ids(12))
        assert len(await archive.keys()) == 1
        assert await archive.keys(MERGES) == []


async def test_two_compactors_at_once_lose_nothing(settings: CoreSettings):
    class NoLease(Lease):
        async def take(self, seconds: float) -> bool:
            return True

    async with store(settings) as archive:

        def compactor() -> Compactor:
            lease = NoLease(archive.dynamodb, "none", "nobody", archive.now_ms)
            bucket = Bucket(archive.s3, archive.bucket)
            return Compactor(bucket, lease, CompactionSettings(), archive.now_ms, AT_ONCE)

        pair = [compactor(), compactor()]
        for round_number in range(4):
            await asyncio.gather(pair[0].run(), archive.put(6, 6 * round_number), pair[1].run())
            assert (await archive.ids()).keys() == expected_ids(6 * (round_number + 1))
            archive.ahead_ms += HOUR_MS
        for _ in range(6):
            archive.ahead_ms += STAY_MS
            await asyncio.gather(*(one.run() for one in pair))
        assert (await archive.ids()).keys() == expected_ids(24)
        assert len(await archive.keys()) == 1


async def test_one_worker_compacts_and_another_takes_over_when_its_lease_is_over(settings: CoreSettings):
    async with store(settings) as archive:
        await archive.put(4)
        assert await archive.compactor("one").run() == 1
        await archive.put(4, 4)
        assert await archive.compactor("other").run() == 0
        archive.ahead_ms += HOUR_MS
        assert await archive.compactor("other").run() == 1


async def test_a_worker_that_stops_leaves_its_merge_to_the_next(settings: CoreSettings):
    async with store(settings) as archive:
        await archive.put(4)
        answers = iter([False, False, False, True])
        assert await archive.compactor().run(lambda: next(answers)) == 0
        assert len(await archive.keys(MERGES)) == 1
        assert await archive.compactor().run() == 1
        assert (await archive.ids()).keys() == expected_ids(4)


async def test_a_file_that_is_no_parquet_stays_and_stops_no_other(settings: CoreSettings):
    async with store(settings) as archive:
        await archive.put(4)
        await archive.s3.put_object(Bucket=archive.bucket, Key=f"{PARTITION}/bad.parquet", Body=b"none")
        await archive.s3.put_object(Bucket=archive.bucket, Key=f"{MERGES}note.json", Body=b"no note")
        compactor = archive.compactor()
        assert await compactor.run() == 0
        assert await compactor.run() == 1
        archive.ahead_ms += STAY_MS
        await compactor.run()
        keys = await archive.keys()
    assert len(keys) == 2
    assert f"{PARTITION}/bad.parquet" in keys


async def test_the_recommenders_count_follows_the_files_through_a_compaction(settings: CoreSettings):
    policy = TrainingPolicy(1, 0, 0, 0, 0, 0, min_archived_events=1_000, min_archived_customers=1_000)
    async with store(settings) as archive:
        await archive.put(10)
        census = ArchiveCensus(archive.s3, archive.bucket, f"{FILES}app=demo/")
        before = await census.count(policy)
        await archive.compactor().run()
        during = await census.count(policy)
        archive.ahead_ms += STAY_MS
        await archive.compactor().run()
        after = await census.count(policy)
    assert before == after
    assert before.events == 30
    assert during.events <= 2 * before.events


READ_BY_THE_JOB = """
import sys
from pyspark.sql import SparkSession
from recommender_trigger.job import events, train
spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
given = ["--archive", sys.argv[1], "--output", "nowhere", "--run-id", "r", "--as-of-ms", str(2**42)]
counts = events.read_archive(spark, train.arguments(given)).counts
print("counted", counts["content"], counts["content"] - counts["duplicates"])
"""


@pytest.mark.spark
def test_the_training_job_counts_rows_in_old_and_merged_files_once(tmp_path: Path):
    if problem := java_problem():
        pytest.skip(problem)
    paths = []
    for number in range(3):
        events = [event(type=CONTENT_VIEWED, data={"content_id": f"story-{n}"}) for n in range(5)]
        (file,) = Archive().files(f"batch-{number}", {"demo": events})
        paths.append(tmp_path / file.key)
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_bytes(file.body)
    assert merge_files(paths, paths[0].with_name("merged-1.parquet")) == 15
    done = subprocess.run(
        [sys.executable, "-c", READ_BY_THE_JOB, tmp_path], capture_output=True, text=True, check=False
    )
    assert "counted 30 15" in done.stdout, done.stderr[-2_000:]


async def test_a_merged_file_is_compressed_sorted_and_has_statistics(settings: CoreSettings, tmp_path: Path):
    async with store(settings) as archive:
        await archive.put(20)
        await archive.compactor().run()
        (key,) = [key for key in await archive.keys() if "merged-" in key]
        (tmp_path / "merged.parquet").write_bytes(await archive.body(key))
    merged = pq.ParquetFile(tmp_path / "merged.parquet")
    group = merged.metadata.row_group(0)
    columns = {group.column(n).path_in_schema: group.column(n) for n in range(group.num_columns)}
    assert merged.schema_arrow.equals(SCHEMA)
    assert {column.compression for column in columns.values()} == {"ZSTD"}
    assert (columns["customer_id"].statistics.min, columns["customer_id"].statistics.max) == (
        "fam-0",
        "fam-2",
    )
    assert columns["occurred_at_ms"].statistics.has_min_max
    customers = merged.read(columns=["customer_id"])["customer_id"].to_pylist()
    assert customers == sorted(customers)
    identities = "SELECT count(DISTINCT (customer_id, device_id, occurred_at_ms, id)) FROM read_parquet(?)"
    with duckdb.connect() as connection:
        ((counted,),) = connection.execute(identities, [str(tmp_path / "merged.parquet")]).fetchall()
    assert counted == 60
