"""Row `write-units`: what DynamoDB would charge for the engine's real requests, by AWS's rules.

The engine runs against a DynamoDB in memory that hears every write with the item before and after. The
peer writes each event on its own in a transaction with its counters, sized by the same rules.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from itertools import chain

from benchmarks import engine, workload
from benchmarks.memory_dynamodb import Item, MemoryDynamoDb
from benchmarks.runner import Bench, Result
from benchmarks.units import index_units, write_units
from kinstream.chunks import decode_chunk
from kinstream.dynamo import to_item
from kinstream.events import Event
from kinstream.queues import Message
from kinstream.resources import TABLES
from session_worker.processor import Stateful, discover

MOST = 1_500
_CUSTOMERS = 1_000


class Meter:
    """Adds up units by what they were for."""

    def __init__(self, prefix: str) -> None:
        self._indexes = {f"{prefix}-{table.name}": table.indexes for table in TABLES}
        self._prefix = prefix
        self.units: Counter[str] = Counter()

    def __call__(self, table: str, before: Item | None, after: Item | None, in_transaction: bool) -> None:
        """Hear a write."""
        purpose = self._purpose(table, after or before or {})
        self.units[purpose] += write_units(before, after, in_transaction=in_transaction)
        self.units[f"{purpose}, its index"] += index_units(before, after, self._indexes[table])

    def _purpose(self, table: str, item: Item) -> str:
        short = table.removeprefix(f"{self._prefix}-")
        kind = item["pk"]["S"].split("#")[1]
        return {"trend": "trending", "likes": "likes", "journal": "journal"}.get(kind, f"{short} of {kind}")


def measure(bench: Bench, name: str) -> Result:
    """The row."""
    configured = engine.settings()
    rounds = bench.pick(1, 2)
    batches = list(workload.batches(_CUSTOMERS, rounds))
    events = [event for batch in batches for event in batch]
    bench.say("batches of 10 a customer")
    grouped = _units(workload.messages(iter(batches)), size=10)
    bench.say("in chunks as the collector makes them")
    merged = [list(chain(*batches[start : start + 5])) for start in range(0, len(batches), 5)]
    coalesced = _per_thousand(_units(workload.messages(iter(merged)), size=10), events)
    bench.say("one by one")
    alone = events[: len(events) // 4]
    # As they come from many customers at once: hardly two of a group are of one.
    random.Random(1).shuffle(alone)
    apart = workload.messages([event] for event in alone)
    single, together = _units(apart, size=1), _per_thousand(_units(apart, size=10), alone)
    total, one_by_one = _per_thousand(grouped, events), _per_thousand(single, alone)
    naive = _naive_units(events) * 1000 / len(events)
    parts = ", ".join(
        f"{purpose} {units * 1000 / len(events):,.0f}" for purpose, units in grouped.most_common() if units
    )
    return Result(
        f"{total:,.0f} (peer {naive:,.0f}); in chunks of 50 {coalesced:,.0f}; messages of one event "
        f"{together:,.0f}, each in a transaction of its own {one_by_one:,.0f}",
        total <= MOST,
        [
            f"{len(events):,} events of {_CUSTOMERS:,} customers, {workload.DESCRIPTION}; groups of 10 "
            f"messages of 10 events (chunks of 50: of five customers); trending written every "
            f"{configured.score_flush_seconds:.0f} s and contents' counters every "
            f"{configured.roll_up_seconds:.0f} s, at {engine.EVENTS_A_SECOND:,} events a second",
            f"of which {parts}",
            "the peer: the event, its session, its customer's counters and, for events with content, the "
            "content's counters, each 1 KB at most, in one transaction an event",
        ],
        {
            "units_per_1000": total,
            "units_per_1000_chunks_of_50": coalesced,
            "units_per_1000_messages_of_one": together,
            "units_per_1000_one_by_one": one_by_one,
            "units_per_1000_peer": naive,
        },
    )


def _units(messages: Sequence[Message], size: int) -> Counter[str]:
    configured = engine.settings()
    meter = Meter(configured.name_prefix)
    worker = engine.Engine(MemoryDynamoDb(meter), configured)
    groups = workload.in_groups(list(messages), size)
    group_events = round(sum(len(decode_chunk(m.body).events) for m in messages) / len(groups))

    async def commit() -> None:
        for processor in discover():
            if isinstance(processor, Stateful):
                _, failed = await worker.run(processor.name, groups, group_events)
                assert not failed

    asyncio.run(commit())
    return meter.units


def _per_thousand(units: Counter[str], events: Sequence[Event]) -> float:
    return units.total() * 1000 / len(events)


def _naive_units(events: Sequence[Event]) -> int:
    """Units of one transaction an event; the size of each item is taken from the event itself."""
    small = to_item({"pk": "bench#customer#fam-1", "sk": "total", "events": 1_000})
    counters = write_units(None, small, in_transaction=True)
    units = 0
    for event in events:
        item = to_item({"pk": event.customer_id, "sk": f"{event.occurred_at}#{event.id}", "type": event.type})
        item |= to_item({"device_id": event.device_id, "data": bytes(event.data)})
        units += write_units(None, item, in_transaction=True) + 2 * counters
        units += counters if event.type.startswith("content.") else 0
    return units
