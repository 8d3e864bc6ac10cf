"""What `kinstream plan` reckons with of each processor: CPU of an event, write units and bytes kept by table.

Run by hand, `python -m benchmarks.plan_rates`; its figures go into `kinstream_devkit/plan/measured.toml`, the
bytes into `benchmarks/monthly_model.py`.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from statistics import median

import msgspec

from benchmarks import engine, workload
from benchmarks.memory_dynamodb import Item, MemoryDynamoDb
from benchmarks.processes import stub_aws
from benchmarks.runner import cpu_clock
from benchmarks.units import index_units, item_bytes, write_units
from kinstream.chunks import decode_chunk
from kinstream.events import LOCATION_UPDATED, Event
from kinstream.queues import Message
from kinstream.resources import TABLES
from session_worker.processor import Sink, discover

_CUSTOMERS = 500
_ROUNDS = 4
_GROUP_EVENTS = 100
_REPEATS = 3


def main() -> None:
    """Print them."""
    plain = list(workload.batches(_CUSTOMERS, _ROUNDS))
    fixes = [[_as_fix(event) for event in batch] for batch in plain]
    with stub_aws() as url:
        for processor in discover():
            batches = fixes if processor.handles == {LOCATION_UPDATED} else plain
            messages = workload.messages(iter(batches))
            handled = sum(processor.takes(event) for batch in batches for event in batch)
            if isinstance(processor, Sink):
                microseconds = _sink(processor, messages) / handled * 1e6
                print(f"{processor.name}: {microseconds:.1f} µs an event handled")
                continue
            groups = workload.in_groups(messages)
            runs = [asyncio.run(_cpu(url, f"{processor.name}-{n}", processor.name, groups)) for n in range(3)]
            units, kept = asyncio.run(_units_and_bytes(processor.name, groups))
            told = ", ".join(f"{table} {1000 * n / handled:,.0f}" for table, n in units.most_common())
            print(
                f"{processor.name}: {median(runs) / handled * 1e6:.1f} µs an event handled; units {told}; "
                f"bytes kept {', '.join(f'{table} {n / handled:,.0f}' for table, n in kept.most_common())}"
            )


async def _cpu(url: str, prefix: str, processor: str, groups: Sequence[Sequence[Message]]) -> float:
    """CPU seconds of all of it, with trending and the roll-up, before a DynamoDB that confirms at once."""
    async with engine.over_http(url, prefix) as worker:
        with cpu_clock() as clock:
            await worker.run(processor, groups, _GROUP_EVENTS)
    return clock.seconds


async def _units_and_bytes(
    processor: str, groups: Sequence[Sequence[Message]]
) -> tuple[Counter[str], Counter[str]]:
    """Write units by table, and the bytes that are in it in the end."""
    configured = engine.settings()
    indexes = {f"{configured.name_prefix}-{table.name}": table.indexes for table in TABLES}
    units: Counter[str] = Counter()
    kept: Counter[str] = Counter()

    def hear(table: str, before: Item | None, after: Item | None, in_transaction: bool) -> None:
        name = table.removeprefix(f"{configured.name_prefix}-")
        units[name] += write_units(before, after, in_transaction=in_transaction)
        units[name] += index_units(before, after, indexes[table])
        kept[name] += item_bytes(after or {}) - item_bytes(before or {})

    worker = engine.Engine(MemoryDynamoDb(hear), configured)
    await worker.run(processor, groups, _GROUP_EVENTS)
    return units, kept


def _sink(processor: Sink, messages: Sequence[Message]) -> float:
    runs = []
    for _ in range(_REPEATS):
        with cpu_clock() as clock:
            for start in range(0, len(messages), 500):
                found = [
                    e for message in messages[start : start + 500] for e in decode_chunk(message.body).events
                ]
                for file in processor.files(str(start), {workload.APP: found}):
                    assert file.body
        runs.append(clock.seconds)
    return median(runs)


def _as_fix(event: Event) -> Event:
    """The same event as a place where a child of the family is."""
    draw = random.Random(event.id)
    data = {
        "person_id": "kid-1",
        "latitude": 52.5 + draw.random() / 10,
        "longitude": 13.4 + draw.random() / 10,
        "accuracy_m": 12,
    }
    return msgspec.structs.replace(event, type=LOCATION_UPDATED, data=msgspec.Raw(msgspec.json.encode(data)))


if __name__ == "__main__":
    main()
