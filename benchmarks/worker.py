"""Row `worker`: CPU of the session-worker from a received message to its commit.

Measured twice: with the real AWS client over HTTP to a DynamoDB in memory in a process of its own, which
is what runs in production and what counts; and with that DynamoDB in-process, its own time taken off,
which is the engine alone. Both processors that every content event passes, one after the other.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from itertools import pairwise
from statistics import median

import msgspec

from benchmarks import engine, workload
from benchmarks.memory_dynamodb import MemoryDynamoDb
from benchmarks.processes import stub_aws
from benchmarks.runner import Bench, MissingError, Result, cpu_clock, interleave, ratio, spread
from kinstream.chunks import decode_chunk
from kinstream.events import CONTENT_LIKED, CONTENT_UNLIKED, CONTENT_VIEWED, ActivityData, Event
from kinstream.queues import Message
from kinstream.views.sessions import GAP_MS
from session_worker.processors.archive import Archive

PROCESSORS = ("activity", "content")
_GROUP_EVENTS = 100
MOST = 5.0
_decode_data = msgspec.json.Decoder(ActivityData).decode


def measure(bench: Bench, name: str) -> Result:
    """The row."""
    messages = workload.messages(workload.batches(customers=500, rounds=bench.pick(1, 4)))
    groups = workload.in_groups(messages)
    events = 10 * len(messages)
    trending: list[float] = []
    rolled_up: list[float] = []
    with stub_aws() as url:
        readings = interleave(
            bench.pick(3, 5),
            {
                "plain fold": lambda _: _plain(messages),
                "engine alone": lambda _: _in_process(groups, events),
                "engine with its client": lambda number: _over_http(
                    url, f"round-{number}", groups, events, (trending, rolled_up)
                ),
                "archive": lambda _: _archive(messages),
            },
            bench.say,
        )
    readings |= {"trending": trending, "roll-up": rolled_up}
    per_event = {side: median(seconds) / events * 1e6 for side, seconds in readings.items()}
    plain, alone, whole = (
        readings[side] for side in ("plain fold", "engine alone", "engine with its client")
    )
    reached = ratio(whole, plain)
    all_in_all = per_event["engine with its client"] + per_event["roll-up"]
    return Result(
        f"{reached:.0f}x ({per_event['engine with its client']:.1f} against "
        f"{per_event['plain fold']:.2f} µs); "
        f"engine without its AWS client {ratio(alone, plain):.0f}x ({per_event['engine alone']:.1f} µs)",
        reached <= MOST,
        [
            f"{events:,} events, messages of 10 events of a customer, groups of 10 messages, processors "
            f"{' and '.join(PROCESSORS)} together: {workload.DESCRIPTION}; ratio {spread(whole, plain)}; "
            f"outside of the commit, adding the journal to the counters of contents, once for all {events:,} "
            f"events, costs {per_event['roll-up']:.1f} µs an event more: one core does "
            f"{1e6 / all_in_all:,.0f} events/s; trending costs {per_event['trending']:.1f} µs, written every "
            f"30 s at {engine.EVENTS_A_SECOND:,} events a second, and the archive's Parquet "
            f"{per_event['archive']:.1f} µs"
        ],
        {
            "ratio": reached,
            "ratio_engine_alone": ratio(alone, plain),
            "cpu_us_per_event": per_event["engine with its client"],
            "cpu_us_per_event_engine_alone": per_event["engine alone"],
            "cpu_us_per_event_plain": per_event["plain fold"],
            "cpu_us_per_event_archive": per_event["archive"],
            "cpu_us_per_event_trending": per_event["trending"],
            "cpu_us_per_event_roll_up": per_event["roll-up"],
        },
    )


def _plain(messages: Sequence[Message]) -> float:
    with cpu_clock() as clock:
        fold = PlainFold()
        for message in messages:
            fold.take(decode_chunk(message.body).events)
        fold.sessions()
    return clock.seconds


def _in_process(groups: Sequence[Sequence[Message]], events: int) -> float:
    client = MemoryDynamoDb()
    with cpu_clock() as clock:
        worker = engine.Engine(client, engine.settings())
        asyncio.run(_commit(worker, groups, events))
    return clock.seconds - client.own_seconds


def _over_http(
    url: str,
    prefix: str,
    groups: Sequence[Sequence[Message]],
    events: int,
    others: tuple[list[float], list[float]],
) -> float:
    """Seconds to the commits; those of trending and of the roll-up go to `others`."""

    async def with_client() -> float:
        async with engine.over_http(url, prefix) as worker:
            with cpu_clock() as clock:
                await _commit(worker, groups, events, _GROUP_EVENTS)
        for seconds, into in zip((worker.flush_seconds, worker.roll_up_seconds), others, strict=True):
            into.append(seconds)
        return clock.seconds - worker.flush_seconds - worker.roll_up_seconds

    return asyncio.run(with_client())


async def _commit(
    worker: engine.Engine, groups: Sequence[Sequence[Message]], events: int, group_events: int = 0
) -> None:
    for processor in PROCESSORS:
        counted, failed = await worker.run(processor, groups, group_events, rolls_up_once=True)
        if failed or (processor == "activity" and counted != events):
            raise MissingError(f"{processor} counted {counted} of {events} events, {failed} messages failed")


def _archive(messages: Sequence[Message]) -> float:
    archive = Archive()
    with cpu_clock() as clock:
        for start in range(0, len(messages), 500):
            found = [event for m in messages[start : start + 500] for event in decode_chunk(m.body).events]
            for file in archive.files(str(start), {workload.APP: found}):
                assert file.body
    return clock.seconds


class PlainFold:
    """What a batch job would do in memory: the same results, without any promise."""

    def __init__(self) -> None:
        self._seen: set[tuple[str, int, str]] = set()
        self._moments: dict[tuple[str, str], list[tuple[int, str, str]]] = defaultdict(list)
        self.customers: dict[tuple[str, str], int] = defaultdict(int)
        self.views: dict[str, int] = defaultdict(int)
        self.likes: dict[tuple[str, str], tuple[int, str, bool]] = {}

    def take(self, events: Sequence[Event]) -> None:
        """Fold events in, each once."""
        for event in events:
            identity = event.customer_id, event.occurred_at_ms, event.id
            if identity in self._seen:
                continue
            self._seen.add(identity)
            data = _decode_data(event.data)
            self.customers[event.customer_id, event.type] += 1
            self._moments[event.customer_id, event.device_id].append(
                (event.occurred_at_ms, data.activity or event.type, data.content_id or "")
            )
            if event.type == CONTENT_VIEWED:
                self.views[data.content_id] += 1
            elif event.type in (CONTENT_LIKED, CONTENT_UNLIKED):
                key = event.customer_id, data.content_id
                word = event.occurred_at_ms, event.id, event.type == CONTENT_LIKED
                self.likes[key] = max(self.likes.get(key, word), word)

    def sessions(self) -> int:
        """How many sessions there are."""
        count = 0
        for moments in self._moments.values():
            moments.sort()
            times = [time_ms for time_ms, _, _ in moments]
            count += 1 + sum(b - a > GAP_MS for a, b in pairwise(times))
        return count
