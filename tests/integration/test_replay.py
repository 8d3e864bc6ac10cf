"""A processor run over the archive counts each event exactly once, whatever was counted before."""

import asyncio
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest

from kinstream import keys
from kinstream.aws import blocking_client
from kinstream.errors import PermanentError
from kinstream.events import Event, format_time_ms
from kinstream.resources import BUCKET_ARCHIVE, TABLE_COUNTERS
from kinstream.settings import CoreSettings
from kinstream_devkit.embedded.datadir import DataDir, StackState
from kinstream_devkit.embedded.emulator import console_script
from kinstream_devkit.provision import provision
from kinstream_devkit.replay import Span
from session_worker.effects import Effect, Increment
from session_worker.processor import LedgerKey, Reducer
from session_worker.processors.activity import Activity
from tests.support.engine import APP, Engine, engine, event, in_chunks
from tests.support.replaying import archive, count_waiting, counting, replay
from tests.support.stack import eventually

FIRST = (datetime.now(UTC) - timedelta(days=4)).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = 3


def events_of_days(number: int, seed: int = 1) -> list[Event]:
    """Events of some customers over three days, all of them before today."""
    rng = random.Random(seed)
    start_ms = int(FIRST.timestamp() * 1000)
    return [
        event(
            customer_id=f"fam-{rng.randrange(5)}",
            occurred_at=format_time_ms(start_ms + rng.randrange(DAYS * 86_400_000)),
        )
        for _ in range(number)
    ]


def span(processor: str = "activity", app: str | None = None) -> Span:
    return Span(processor, FIRST.date(), (FIRST + timedelta(days=DAYS)).date(), app)


def reference(events: Sequence[Event]) -> dict[str, int]:
    """Events of each customer, each event once."""
    return dict(
        Counter(customer for customer, _, _ in {(e.customer_id, e.occurred_at, e.id) for e in events})
    )


async def counters(worker: Engine, app: str = APP) -> dict[str, int]:
    found = {f"fam-{n}": (await worker.customer(f"fam-{n}", app)).get("events", 0) for n in range(5)}
    return {name: number for name, number in found.items() if number}


async def test_replay_of_what_was_counted_in_part_counts_the_rest_and_twice_is_once(
    settings: CoreSettings, tmp_path: Path
):
    events = events_of_days(600)
    async with engine(settings) as (worker,):
        for chunk in in_chunks(events[:250], 50):
            await worker.run("activity", chunk)
        archive(settings, "first", events[:400])
        archive(settings, "second", events[300:])  # a hundred of them are in the archive twice
        for _ in range(2):
            report = await asyncio.to_thread(replay, settings, Activity(), span(), tmp_path)
            assert (report.events, report.files, report.done_before) == (700, 2 * DAYS, 0)
            await count_waiting(settings, worker, Activity())
            assert await counters(worker) == reference(events)
        facts = [len(await worker.ledger_facts("activity", f"fam-{n}")) for n in range(5)]
    assert sum(facts) == len(events)


class Newer(Reducer):
    """A processor that is newer than the events. Guarantee: counts each of its own type once."""

    name = "newer"
    handles = frozenset({"content.viewed"})
    example = MappingProxyType({})

    def key(self, event: Event) -> LedgerKey:
        return LedgerKey((event.customer_id,))

    def effects(self, app: str, key: LedgerKey, new: Sequence[Event]) -> Iterator[Effect]:
        yield Increment(("newer", *key.partition), {"events": len(new)})


async def test_processor_that_is_newer_than_the_events_catches_up(settings: CoreSettings, tmp_path: Path):
    events = events_of_days(300)
    views = [
        event(type="content.viewed", customer_id=e.customer_id, occurred_at=e.occurred_at) for e in events
    ]
    async with engine(settings) as (worker,):
        archive(settings, "batch", [*events, *views])
        provision(settings, [Newer().resource()])
        # Live events go on meanwhile, and the archive holds them as well.
        await worker.run(Newer(), views[:40])
        report = await asyncio.to_thread(replay, settings, Newer(), span("newer"), tmp_path)
        await count_waiting(settings, worker, Newer())
        found = {
            f"fam-{n}": (await worker.item(TABLE_COUNTERS, keys.counter(APP, "newer", f"fam-{n}")))["events"]
            for n in range(5)
        }
        assert await worker.customer() == {}, "the others' counters are none of its business"
    assert report.events == len(views)
    assert found == reference(views)


async def test_apps_dates_and_events_that_are_not_meant_stay_out(settings: CoreSettings, tmp_path: Path):
    (meant, too_early, uncounted) = (
        event(
            occurred_at=format_time_ms(int((FIRST + timedelta(hours=hours)).timestamp() * 1000)),
            counted=counted,
        )
        for hours, counted in ((1, True), (-1, True), (2, False))
    )
    async with engine(settings) as (worker,):
        archive(settings, "a", [meant, too_early, uncounted])
        archive(settings, "b", [meant, too_early], app="other")
        await asyncio.to_thread(replay, settings, Activity(), span(app="other"), tmp_path)
        await count_waiting(settings, worker, Activity())
        assert (await counters(worker), await counters(worker, "other")) == ({}, {"fam-1": 1})
        await asyncio.to_thread(replay, settings, Activity(), span(), tmp_path)
        await count_waiting(settings, worker, Activity())
        assert (await counters(worker), await counters(worker, "other")) == ({"fam-1": 1}, {"fam-1": 1})


async def test_file_that_is_compacted_away_meanwhile_is_found_in_its_successor(
    settings: CoreSettings, tmp_path: Path
):
    events = events_of_days(90)
    s3 = blocking_client("s3", settings)
    async with engine(settings) as (worker,):
        for number, part in enumerate(in_chunks(events, 30)):
            archive(settings, f"part-{number}", part)
        listed = s3.list_objects_v2(Bucket=settings.names.of(BUCKET_ARCHIVE))["Contents"]

        def compact(done: int, _total: int, _report: object) -> None:
            if done == 1:
                archive(settings, "compacted", events)
                for one in listed:
                    s3.delete_object(Bucket=settings.names.of(BUCKET_ARCHIVE), Key=one["Key"])

        await asyncio.to_thread(replay, settings, Activity(), span(), tmp_path, compact)
        await count_waiting(settings, worker, Activity())
        assert await counters(worker) == reference(events)
    s3.close()


async def test_file_that_is_no_parquet_ends_the_replay_and_is_named(settings: CoreSettings, tmp_path: Path):
    async with engine(settings):
        (key,) = archive(settings, "broken", [events_of_days(1)[0]])
        with_s3 = blocking_client("s3", settings)
        with_s3.put_object(Bucket=settings.names.of(BUCKET_ARCHIVE), Key=key, Body=b"PAR1 no")
        with_s3.close()
        with pytest.raises(PermanentError, match=r"broken\.parquet is no file of the archive"):
            await asyncio.to_thread(replay, settings, Activity(), span(), tmp_path)


@pytest.fixture
def data_dir(settings: CoreSettings, tmp_path: Path) -> Path:
    """A folder that says that a stack runs, which is the emulator and this test."""
    data = DataDir(tmp_path / "data")
    data.create()
    address = str(settings.aws_endpoint_url)
    data.write_state(StackState(os.getpid(), "", address, "", "", settings.name_prefix, {}))
    return data.root


def command(data_dir: Path, *options: str, processor: str = "activity") -> list[str]:
    dates = ["--from", str(span().first), "--to", str(span().last)]
    return [
        str(console_script("kinstream")),
        "replay",
        processor,
        *dates,
        "--data-dir",
        str(data_dir),
        *options,
    ]


async def run(arguments: Sequence[str]) -> tuple[int | None, str, str]:
    process = await asyncio.create_subprocess_exec(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


async def test_replay_that_is_killed_goes_on_where_it_stopped(settings: CoreSettings, data_dir: Path):
    events = events_of_days(1_200)
    async with engine(settings) as (worker,):
        for number, part in enumerate(in_chunks(events, 100)):
            archive(settings, f"part-{number:02d}", part)
        async with counting(settings, worker, Activity()):
            first = await asyncio.create_subprocess_exec(
                *command(data_dir, "--rate", "100"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            logs = data_dir / "replays"
            await asyncio.to_thread(
                eventually,
                lambda: any(file.read_text().count("\n") > 3 for file in logs.glob("*")),
                "some files are done",
            )
            first.send_signal(signal.SIGKILL)
            await first.communicate()
            assert sum((await counters(worker)).values()) < len(events)
            code, out, err = await run(command(data_dir))
        assert code == 0, err
        assert "were sent by an earlier run that was cut short" in out
        assert "all of them are counted" in out
        assert await counters(worker) == reference(events)
    assert not list(logs.iterdir())


async def test_command_refuses_in_words_what_it_cannot_do(settings: CoreSettings, data_dir: Path):
    async with engine(settings):
        for options, processor, words in (
            (["--from", "2020-01-01"], "activity", "the earliest --from is"),
            ([], "safety", "is no reducer"),
            ([], "nope", "there is no processor nope"),
            (["--app", "nope"], "activity", "there is no app nope"),
        ):
            code, _, err = await run(command(data_dir, *options, processor=processor))
            assert (code, words in err) == (2, True), err
            assert "Traceback" not in err
