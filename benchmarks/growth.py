"""Row `growth`: the session-worker's CPU an event, whatever the number of customers is.

Every customer comes once in three hours, so the same number of visits is some rounds of a thousand customers
or a moment of a million. What grows is how seldom the worker meets one whom it still remembers. DynamoDB is
the stub: how that grows is Amazon's part.
"""

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import AsyncExitStack
from statistics import median

from benchmarks import engine, workload
from benchmarks.processes import stub_aws
from benchmarks.runner import Bench, MissingError, Result, cpu_clock
from benchmarks.worker import PROCESSORS
from kinstream.queues import Message

CUSTOMERS = (1_000, 100_000, 1_000_000)
WITHIN = 0.2
_SLICE_VISITS = 200

Groups = Sequence[Sequence[Message]]


def measure(bench: Bench, name: str) -> Result:
    """The row."""
    before, slices = bench.pick(1_000, 5_000), bench.pick(3, 15)
    visits = before + slices * _SLICE_VISITS
    groups: dict[int, Groups] = {}
    for customers in CUSTOMERS:
        bench.say(f"events of {customers:,} customers")
        found = itertools.islice(workload.batches(customers, -(-visits // customers)), visits)
        groups[customers] = workload.in_groups(workload.messages(found))
    with stub_aws() as url:
        readings = asyncio.run(_count(bench, url, groups, before // 10))
    rates = [10 * _SLICE_VISITS / median(seconds) for seconds in readings.values()]
    flat = min(rates) / max(rates)
    return Result(
        f"{', '.join(f'{rate:,.0f}' for rate in rates)} events/s (least to most {flat:.2f})",
        flat >= 1 - WITHIN,
        [
            f"{slices} times {10 * _SLICE_VISITS:,} events of each in turn, after {10 * before:,} that fill "
            "the worker's memory of 5,000 items; groups of 10 visits of 10 events, a customer's visits three "
            f"hours apart, processors {' and '.join(PROCESSORS)} together, CPU of its process, medians"
        ],
        {
            f"events_per_s_{customers}_customers": rate
            for customers, rate in zip(CUSTOMERS, rates, strict=True)
        },
    )


async def _count(
    bench: Bench, url: str, groups: dict[int, Groups], unmeasured: int
) -> dict[int, list[float]]:
    """CPU seconds of each slice, by the number of customers: in turn, so that all meet the same machine."""
    readings: dict[int, list[float]] = {customers: [] for customers in groups}
    async with AsyncExitStack() as exits:
        workers = {}
        for customers, of_these in groups.items():
            bench.say(f"a worker remembers what it can of {customers:,} customers")
            workers[customers] = await exits.enter_async_context(engine.over_http(url, f"growth-{customers}"))
            await _run(workers[customers], of_these[:unmeasured])
        step = _SLICE_VISITS // 10
        for start in range(unmeasured, len(groups[CUSTOMERS[0]]), step):
            for customers, worker in workers.items():
                bench.say(f"{customers:,} customers")
                with cpu_clock() as clock:
                    await _run(worker, groups[customers][start : start + step])
                readings[customers].append(clock.seconds)
    return readings


async def _run(worker: engine.Engine, groups: Groups) -> None:
    for processor in PROCESSORS:
        _, failed = await worker.run(processor, groups)
        if failed:
            raise MissingError(f"{processor} could not count {failed} messages")
