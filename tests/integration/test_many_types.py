"""An app that makes up types without end: no item fills up, nothing is put aside, every event is counted."""

import asyncio

from benchmarks.units import item_bytes
from kinstream.dynamo import to_item
from kinstream.events import OTHER
from kinstream.settings import CoreSettings
from session_worker.processors.activity import ActivitySettings
from tests.support.engine import Engine, engine, event, in_chunks

TYPES = 2_000
MOST = ActivitySettings().most_types


def made_up(number: int):
    hour, rest = number % 24, number // 24
    return event(type=f"game.played_{number:050d}", occurred_at=f"2026-11-20T{hour:02d}:00:00.{rest:03d}Z")


async def deliver(worker: Engine, chunks) -> None:
    for chunk in chunks:
        while (await worker.run("activity", chunk)).failed:
            pass  # a queue would deliver it again


async def test_types_made_up_without_end_are_all_counted_by_workers_at_once(settings: CoreSettings):
    events = [made_up(number) for number in range(TYPES)]
    chunks = in_chunks(events, 100)
    async with engine(settings, copies=3) as workers:
        await asyncio.gather(*(deliver(worker, chunks[n::3]) for n, worker in enumerate(workers)))
        counted = await workers[0].customer()
        await asyncio.gather(*(deliver(worker, chunks[:4]) for worker in workers))
        again, put_aside = await workers[0].customer(), await workers[0].put_aside()
    own = {name: n for name, n in counted.items() if name.startswith("type:") and OTHER not in name}
    assert counted["events"] == TYPES
    assert set(own) <= {f"type:{one.type}" for one in events}
    assert (len(own), set(own.values())) == (MOST, {1})
    assert counted[f"type:{OTHER}"] == TYPES - MOST
    assert (again, put_aside) == (counted, [])
    assert item_bytes(to_item(counted)) < 64 * 1024


async def test_types_that_were_told_apart_before_stay_so_for_a_worker_that_knows_nothing(
    settings: CoreSettings,
):
    async with engine(settings, copies=2) as (one, other):
        await deliver(one, in_chunks([made_up(number) for number in range(MOST)], 50))
        await deliver(other, [[event(type=made_up(3).type), event(type="screen.viewed")]])
        counted = await one.customer()
    assert counted[f"type:{made_up(3).type}"] == 2
    assert (counted[f"type:{OTHER}"], "type:screen.viewed" in counted) == (1, False)
