"""The session-worker's engine against the emulator, one group at a time, without queues in between."""

import itertools
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from kinstream import keys
from kinstream.aws import AwsClients
from kinstream.chunks import Chunk, encode_chunk
from kinstream.dynamo import from_item, to_item
from kinstream.events import Event, parse_time_ms
from kinstream.ledger_format import decode_bucket, partition_key, split_sort_key
from kinstream.queues import Message, SqsQueue
from kinstream.resources import TABLE_COUNTERS, TABLE_LEDGER, TABLE_RECORDS, TABLE_REGISTRY
from kinstream.settings import CoreSettings
from kinstream_devkit.provision import provision
from session_worker.engine.groups import Group, Outcome
from session_worker.main import Worker
from session_worker.processor import Processor, discover
from session_worker.settings import WorkerSettings

APP = "demo"
_numbers = itertools.count(1)


def event(**fields: Any) -> Event:
    """An accepted event with plausible values for what is not given; `data` is a dict."""
    occurred_at = fields.pop("occurred_at", "2026-11-20T18:00:00.000Z")
    occurred_at_ms = parse_time_ms(occurred_at)
    values: dict[str, Any] = {
        "id": f"event-{next(_numbers)}",
        "type": "screen.viewed",
        "customer_id": "fam-1",
        "device_id": "ipad-1",
        "occurred_at": occurred_at,
        "occurred_at_ms": occurred_at_ms,
        "received_at_ms": occurred_at_ms + 100,
    }
    data = msgspec.Raw(msgspec.json.encode(fields.pop("data", {})))
    return Event(**(values | fields), data=data)


def message(events: Sequence[Event], app: str = APP, receive_count: int = 1) -> Message:
    """A message as SQS delivers a chunk of these events."""
    name = f"message-{next(_numbers)}"
    return Message(name, encode_chunk(Chunk(app=app, events=list(events))), name, receive_count)


class Engine:
    """One worker's engine and what it left behind in the tables."""

    def __init__(self, settings: WorkerSettings, clients: Mapping[str, Any], queue: SqsQueue) -> None:
        self._names = settings.names
        self._clients = clients
        self._queue = queue
        self._processors = {processor.name: processor for processor in discover()}
        self.worker = Worker(settings, **clients)
        self._groups: dict[str, Group] = {}

    def group(self, processor: str | Processor) -> Group:
        """The group runner of a processor, its memory kept between calls."""
        chosen = self._processors[processor] if isinstance(processor, str) else processor
        if chosen.name not in self._groups:
            self._groups[chosen.name] = Group(self.worker.committer(chosen), self._queue)
        return self._groups[chosen.name]

    async def run(self, processor: str | Processor, *chunks: Sequence[Event], app: str = APP) -> Outcome:
        """Process one group of messages, one a chunk, and what a worker does soon after."""
        outcome = await self.group(processor).run([message(chunk, app) for chunk in chunks])
        await self.worker.roll_up.run()
        return outcome

    async def item(self, table: str, key: keys.Key) -> dict[str, Any]:
        """The plain values of an item; empty where there is none."""
        answer = await self._clients["dynamodb"].get_item(
            TableName=self._names.of(table), Key=to_item({"pk": key[0], "sk": key[1]}), ConsistentRead=True
        )
        return from_item(answer.get("Item", {}))

    async def query(self, table: str, partition: str) -> list[dict[str, Any]]:
        """All items under a partition key."""
        answer = await self._clients["dynamodb"].query(
            TableName=self._names.of(table),
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": partition}),
            ConsistentRead=True,
        )
        return [from_item(item) for item in answer["Items"]]

    async def customer(self, customer_id: str = "fam-1", app: str = APP) -> dict[str, Any]:
        """A customer's counters."""
        return await self.item(TABLE_COUNTERS, keys.customer_counters(app, customer_id))

    async def content(self, content_id: str, amount: str, app: str = APP) -> int:
        """One of a content's counters, summed over its slots."""
        slots = [
            await self.item(TABLE_COUNTERS, keys.content_counters(app, content_id, slot))
            for slot in range(keys.CONTENT_SLOTS)
        ]
        return sum(slot.get(amount, 0) for slot in slots)

    async def alerts(self, customer_id: str = "fam-1", app: str = APP) -> list[dict[str, Any]]:
        """Alerts of a customer that still stand, oldest first."""
        found = await self.query(TABLE_RECORDS, keys.alert(app, customer_id, "")[0])
        return sorted(
            (alert for alert in found if alert["withdrawn_at_ms"] is None), key=lambda a: a["raised_at_ms"]
        )

    async def ledger_facts(
        self, processor: str, customer_id: str = "fam-1", app: str = APP
    ) -> list[tuple[int, tuple[Any, ...]]]:
        """(time, fact) of everything that a processor has counted for a customer, in order of time."""
        rows = []
        for item in await self.query(TABLE_LEDGER, partition_key(app, processor, [customer_id])):
            if "entries" in item:
                _, start_ms = split_sort_key(item["sk"])
                bucket = decode_bucket(start_ms, item["entries"], item["facts"], item["version"])
                rows += list(bucket.timeline())
        return sorted(rows, key=repr)

    async def put_place(self, customer_id: str, place: Mapping[str, Any], app: str = APP) -> None:
        """Make a place known."""
        pk, sk = keys.place(app, customer_id, place["place_id"])
        await self._clients["dynamodb"].put_item(
            TableName=self._names.of(TABLE_REGISTRY), Item=to_item({"pk": pk, "sk": sk, **place})
        )

    async def put_aside(self) -> list[tuple[str, str]]:
        """(body, reason) of what went to the dead-letter queue, removed from it."""
        dead = SqsQueue(self._clients["sqs"], self._queue.dead_letter_url, self._queue.dead_letter_url)
        found = await dead.receive(wait_seconds=0)
        await dead.delete(found)
        return [(dead_message.body, dead_message.attributes["reason"]) for dead_message in found]


@asynccontextmanager
async def engine(settings: CoreSettings, copies: int = 1) -> AsyncIterator[list[Engine]]:
    """So many engines on the same freshly provisioned tables, as so many workers would be."""
    provision(settings, [processor.resource() for processor in discover()])
    worker_settings = WorkerSettings(**settings.model_dump())
    async with AwsClients(worker_settings) as aws:
        clients = {name: await aws.open(name) for name in ("sqs", "dynamodb", "sns", "s3")}
        queue = await SqsQueue.open(clients["sqs"], settings.names.processor_queue("activity"))
        yield [Engine(worker_settings, clients, queue) for _ in range(copies)]


def in_chunks(events: Iterable[Event], size: int) -> list[list[Event]]:
    """Events cut into chunks."""
    everything = list(events)
    return [everything[start : start + size] for start in range(0, len(everything), size)]
