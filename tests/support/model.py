"""The real engine over AWS in memory, as several workers that go on only when told."""

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any
from unittest import mock

from hypothesis import HealthCheck, settings

from benchmarks.memory_expressions import Item
from kinstream import keys
from kinstream.chunks import Chunk, encode_chunk
from kinstream.dynamo import from_item, to_item
from kinstream.events import Event
from kinstream.resources import (
    DEAD_LETTER_SUFFIX,
    TABLE_COUNTERS,
    TABLE_LEDGER,
    TABLE_OUTBOX,
    TABLE_RECORDS,
    TABLE_REGISTRY,
)
from session_worker.engine.worker import AWAY, Consumer
from session_worker.main import Worker
from session_worker.processor import Processor, Stateful, discover
from session_worker.processors.activity import Activity
from session_worker.settings import WorkerSettings
from tests.support.interleaving import Call, Fate, Gate
from tests.support.memory_aws import ForgetfulDynamoDb, MemorySns, MemorySqs

PREFIX = "model"
START_MS = 1_795_284_000_000
MOST_ROUNDS = 200
MOST_TASKS = 8
UPKEEP_ROUNDS = 6
TROUBLE = 0.25
"""How likely a call fails while the world toils."""
DAY_MS = 86_400_000


def model_settings(runs: int, *, usual: int) -> settings:
    """How Hypothesis runs a state machine; the usual number of runs, and CI, go the same way every time."""
    return settings(
        max_examples=runs,
        stateful_step_count=50,
        deadline=None,
        derandomize="CI" in os.environ or runs == usual,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@dataclass(eq=False)
class Running:
    """One worker process."""

    name: str
    worker: Worker
    consumers: Mapping[str, Sequence[Consumer]]
    upkeep: Sequence[Callable[[], Awaitable[object]]] = ()

    def __repr__(self) -> str:
        return self.name


class World:
    """AWS and the workers. `due_marks` tells how often each counter was marked due."""

    def __init__(self, workers: int, training_threshold: int, cached_items: int, most_types: int) -> None:
        self.gate = Gate()
        self.sqs, self.sns = MemorySqs(), MemorySns()
        self.dynamodb = ForgetfulDynamoDb(self._written)
        self.now_ms = START_MS
        self.tick_ms = 1
        self._settings = WorkerSettings(
            name_prefix=PREFIX, ledger_hash_key="a key for the model", cached_items=cached_items
        )
        self.names = self._settings.names
        with mock.patch.dict(
            os.environ,
            {
                "KINSTREAM_ACTIVITY_TRAINING_THRESHOLD_EVENTS": str(training_threshold),
                "KINSTREAM_ACTIVITY_MOST_TYPES": str(most_types),
            },
        ):
            found = discover()
        self.processors: list[Processor] = [p for p in found if isinstance(p, Stateful)]
        self.training_threshold = training_threshold
        self.most_types = most_types
        self.due_marks: dict[str, int] = defaultdict(int)
        self.outbox: dict[str, dict[str, Any]] = {}
        self._skews_ms = [0] * workers
        self._born = 0
        self.workers = [self._start(number) for number in range(workers)]

    # What happens.

    def publish(self, app: str, events: Sequence[Event]) -> None:
        """A chunk on the topic, from where it goes to every queue that has a type of it in its filter."""
        types = {event.type for event in events}
        body = encode_chunk(Chunk(app=app, events=list(events)))
        for processor in self.processors:
            if processor.handles is None or types & processor.handles:
                self.sqs.send(self.names.processor_queue(processor.name), body)

    def publish_garbage(self, body: str) -> None:
        """A message that is no chunk, in every queue."""
        for processor in self.processors:
            self.sqs.send(self.names.processor_queue(processor.name), body)

    def receive(self, number: int, processor: str, lane: int, picks: list[int]) -> None:
        """Make a consumer take messages: the call that receives them is not held up."""
        running = self.workers[number % len(self.workers)]
        consumers = running.consumers[processor]
        if self.gate.tasks(running) >= MOST_TASKS:
            return
        stop = asyncio.Event()
        before = list(self.gate.calls)
        self.gate.start(running, consumers[lane % len(consumers)].run(stop))
        stop.set()
        self.sqs.picks = picks
        for call in [call for call in self.gate.calls if call not in before]:
            self.decide(call, Fate.DONE)
        self.sqs.picks = []

    def upkeep(self, number: int) -> None:
        """Make a worker sweep the outbox and write its scores."""
        running = self.workers[number % len(self.workers)]
        if self.gate.tasks(running) < MOST_TASKS:
            for action in running.upkeep:
                self.gate.start(running, _once(action))

    def decide(self, call: Call, fate: Fate) -> None:
        """Let a call go on; a millisecond passes, where clocks are so fine."""
        self.now_ms += self.tick_ms
        self.gate.decide(call, fate)

    def crash(self, number: int) -> None:
        """Kill a worker between two calls, and start another in its place, which remembers nothing."""
        number %= len(self.workers)
        self.gate.kill(self.workers[number])
        self.workers[number] = self._start(number)

    def crash_after(self, call: Call) -> None:
        """As `crash`, of whoever made the call: the call is done, and nobody lives to hear of it."""
        number = next(n for n, running in enumerate(self.workers) if running is call.caller)
        self.gate.let_it_be_done(call)
        self.crash(number)

    def skew(self, number: int, by_ms: int) -> None:
        """Put a worker's clock wrong."""
        self._skews_ms[number % len(self.workers)] = by_ms

    def let_time_pass(self, by_ms: int) -> None:
        """Nothing happens for so long."""
        self.now_ms += by_ms

    def train(self, counter: keys.Key) -> None:
        """What a training run does to a customer's counters when it has taken them in."""
        item = self._item(TABLE_COUNTERS, counter)
        if "due_shard" not in item:
            return
        trained = item.get("trained", 0) + item["events_since_training"]
        item = {k: v for k, v in item.items() if k not in {"due_shard", "due_at_ms"}}
        item |= {"events_since_training": 0, "trained": trained}
        self._put(TABLE_COUNTERS, counter, item)

    def put_place(self, app: str, customer_id: str, place: Mapping[str, Any]) -> None:
        """Make a place known."""
        self._put(TABLE_REGISTRY, keys.place(app, customer_id, place["place_id"]), place)

    def toil(self, random: Random, decisions: int) -> None:
        """Work off what there is, against so much trouble: some calls fail, now and then a worker dies."""
        for _ in range(decisions):
            number = random.randrange(len(self.workers))
            if len(self.gate.calls) < len(self.workers):
                self.receive(number, random.choice(self.processors).name, random.randrange(2), [])
            if random.random() < TROUBLE / 5:
                self.upkeep(number)
            if self.gate.calls:
                call = random.choice(self.gate.calls)
                fate = random.choice(fates_of(call)) if random.random() < TROUBLE else Fate.DONE
                self.decide(call, fate)
            if self.gate.calls and random.random() < TROUBLE / 10:
                self.crash_after(random.choice(self.gate.calls))

    def come_to_rest(self) -> None:
        """Without any more faults: until no message is left and nothing is left to send."""
        self.gate.let_late_ones_arrive()
        for _ in range(MOST_ROUNDS):
            while self.gate.calls:
                self.decide(self.gate.calls[0], Fate.DONE)
            waiting = [p.name for p in self.processors if self.sqs.queues[self.names.processor_queue(p.name)]]
            if not waiting:
                break
            for name in waiting:
                self.receive(0, name, 0, [])
        else:
            raise AssertionError(f"after {MOST_ROUNDS} rounds there are messages left for {waiting}")
        for _ in range(UPKEEP_ROUNDS):
            self.let_time_pass(DAY_MS)
            self.upkeep(0)
            while self.gate.calls:
                self.decide(self.gate.calls[0], Fate.DONE)

    # What has come of it.

    def rows(self, table: str) -> Iterable[dict[str, Any]]:
        """All items of a table."""
        return map(from_item, self.dynamodb.items(self.names.of(table)))

    def put_aside(self, processor: str) -> list[str]:
        """Bodies in a processor's dead-letter queue."""
        queue = self.names.processor_queue(processor) + DEAD_LETTER_SUFFIX
        return [message.body for message in self.sqs.queues[queue].values()]

    def counters(self, key: keys.Key) -> dict[str, Any]:
        """A row of the counters table; empty where there is none."""
        return self._item(TABLE_COUNTERS, key)

    def check(self) -> None:
        """What holds at any time: a customer's counter is the number of entries in its buckets."""
        entries: dict[tuple[str, str], int] = defaultdict(int)
        for row in self.rows(TABLE_LEDGER):
            app, processor, customer_id = row["pk"].split("#")
            if processor == "activity":
                entries[app, customer_id] += len(row.get("entries", b"")) // 8
        counted = {
            (row["app"], row["customer_id"]): row["events"]
            for row in self.rows(TABLE_COUNTERS)
            if "customer_id" in row
        }
        assert counted == entries
        for row in self.rows(TABLE_COUNTERS):
            if "events_since_training" in row:
                assert row["events_since_training"] + row.get("trained", 0) == row["events"]
                assert ("due_shard" in row) == (row["events_since_training"] >= self.training_threshold)
        assert all(row.get("version", 1) > 0 for row in self.rows(TABLE_RECORDS))

    def close(self) -> None:
        """End all workers."""
        self.gate.close()

    def _start(self, number: int) -> Running:
        self._born += 1
        name = f"worker {number} ({self._born})"
        running = Running(name, None, {})  # type: ignore[arg-type]
        clients = {
            service: self.gate.client(running, backend)
            for service, backend in (("dynamodb", self.dynamodb), ("sqs", self.sqs), ("sns", self.sns))
        }

        def now_ms() -> int:
            return self.now_ms + self._skews_ms[number]

        running.worker = Worker(self._settings, **clients, s3=None, clock=now_ms)
        (activity,) = (processor for processor in self.processors if isinstance(processor, Activity))
        closing = running.worker.closing(activity)
        roll_up = running.worker.roll_up
        running.upkeep = (
            *(running.worker.outbox.sweep, running.worker.scores.flush, closing.sweep),
            *(roll_up.run, roll_up.sweep),
        )
        self.gate.open = True
        running.consumers = {
            processor.name: self.gate.complete(running.worker.consumers(processor))
            for processor in self.processors
        }
        self.gate.open = False
        return running

    def _written(self, table: str, before: Item | None, after: Item | None, in_transaction: bool) -> None:
        if after is None:
            return
        new, old = from_item(after), from_item(before or {})
        if table == self.names.of(TABLE_COUNTERS) and "due_at_ms" in new:
            if "due_at_ms" not in old:
                self.due_marks[new["pk"]] += 1
                assert old.get("events_since_training", 0) < self.training_threshold
            else:
                assert new["due_at_ms"] == old["due_at_ms"], "a mark was moved"
        if table == self.names.of(TABLE_OUTBOX) and in_transaction:
            assert not old, "one id stands for two announcements"
            self.outbox[new["announcement_id"]] = new
        if table == self.names.of(TABLE_LEDGER):
            assert _entries(old) <= _entries(new), "an entry was lost"
            assert new["version"] == old.get("version", 0) + 1

    def _item(self, table: str, key: keys.Key) -> dict[str, Any]:
        request = {"TableName": self.names.of(table), "Key": to_item({"pk": key[0], "sk": key[1]})}
        found = from_item(self.dynamodb.handle("GetItem", request).get("Item", {}))
        return {name: value for name, value in found.items() if name not in {"pk", "sk"}}

    def _put(self, table: str, key: keys.Key, values: Mapping[str, Any]) -> None:
        item = to_item({"pk": key[0], "sk": key[1], **values})
        self.dynamodb.handle("PutItem", {"TableName": self.names.of(table), "Item": item})


def fates_of(call: Call) -> Sequence[Fate]:
    """What may befall a call but that it is just done."""
    if call.action == "BatchWriteItem":
        return Fate.LOST, Fate.LATE, Fate.AWAY, Fate.THROTTLED, Fate.PARTIAL
    if call.action in {"BatchGetItem", "GetItem", "Query"}:
        return Fate.STALE, Fate.PARTIAL, Fate.AWAY, Fate.THROTTLED
    return Fate.LOST, Fate.LATE, Fate.AWAY, Fate.THROTTLED, Fate.CONFLICT, Fate.PARTIAL


async def _once(action: Callable[[], Awaitable[object]]) -> None:
    """As the worker's upkeep does it, which tries again later."""
    with suppress(*AWAY):
        await action()


def _entries(row: Mapping[str, Any]) -> set[bytes]:
    entries = row.get("entries", b"")
    return {entries[start : start + 8] for start in range(0, len(entries), 8)}
