"""Closing sessions against the emulator: engines and closers under a clock that the test moves."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from kinstream.aws import AwsClients
from kinstream.chunks import decode_chunk
from kinstream.dynamo import to_item
from kinstream.events import Event, format_time_ms
from kinstream.ledger_format import partition_key, sort_key
from kinstream.queues import SqsQueue
from kinstream.resources import DEAD_LETTER_SUFFIX, TABLE_LEDGER, TOPIC_SESSIONS
from kinstream.settings import CoreSettings
from kinstream_devkit.provision import provision
from session_worker.engine.due_walk import DueWalk
from session_worker.engine.groups import Group, Outcome
from session_worker.main import Worker
from session_worker.processor import discover
from session_worker.processors.activity import Activity
from session_worker.settings import WorkerSettings
from tests.support.engine import APP, event, message

HOUR_MS = 3_600_000
MINUTE_MS = 60_000
START_MS = (
    4_000_000_000_000 // HOUR_MS * HOUR_MS
)  # 2096: the emulator deletes what has expired by its own clock
LISTENER = "listener"
OVER_MS = 75 * MINUTE_MS
"""From a session's end to its closing: two gaps and the lateness."""
_ARRIVAL_SECONDS = 180


class KilledError(Exception):
    """The process ended here."""


@dataclass
class Mortal:
    """A client whose process dies before or after its nth call that changes something."""

    client: Any
    life: "Life"

    def __getattr__(self, name: str) -> Any:
        call = getattr(self.client, name)
        if name not in {"update_item", "publish", "publish_batch"}:
            return call

        async def counted(**request: Any) -> Any:
            self.life.step()
            answer = await call(**request)
            self.life.step()
            return answer

        return counted


@dataclass
class Sns:
    """A client of SNS that counts the announcements SNS has taken; the archive's share goes by itself."""

    client: Any
    taken: int = 0

    async def publish_batch(self, **request: Any) -> Any:
        """As the client's."""
        answer = await self.client.publish_batch(**request)
        self.taken += len(answer["Successful"])
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.client, name)


@dataclass
class Life:
    """How many steps a process has before it dies; none where it lives on."""

    left: int | None = None
    taken: int = 0

    def step(self) -> None:
        self.taken += 1
        if self.left is not None and self.taken > self.left:
            raise KilledError


@dataclass
class Household:
    """One deployment, its clock and all that was announced."""

    settings: WorkerSettings
    clients: Mapping[str, Any]
    outward: SqsQueue
    archived: SqsQueue
    now_ms: int = START_MS
    app: str = APP
    told: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.activity = next(one for one in discover() if isinstance(one, Activity))
        worker = Worker(self.settings, **self.clients, clock=lambda: self.now_ms)
        self._group = Group(worker.committer(self.activity), self.outward)
        self._walk = self.walk()

    def walk(self, life: Life | None = None) -> DueWalk:
        """A closer of a new process."""
        clients = self.clients
        if life:
            clients = {name: Mortal(client, life) for name, client in clients.items()}
        worker = Worker(self.settings, **clients, clock=lambda: self.now_ms)
        return worker.closing(self.activity)

    async def count(self, *times_ms: int, at_ms: int | None = None, device: str = "ipad-1") -> list[Event]:
        """Count active events of these times, by a clock that shows `at_ms` from now on."""
        self.now_ms = max(times_ms) if at_ms is None else at_ms
        events = [
            event(occurred_at=format_time_ms(time_ms), device_id=device, data={"activity": "reading"})
            for time_ms in times_ms
        ]
        await self.deliver(events)
        return events

    async def deliver(self, events: Sequence[Event]) -> Outcome:
        """Count these events, or find that they have been."""
        outcome = await self._group.run([message(events, self.app)])
        assert not outcome.failed
        return outcome

    async def spoil(self, device: str, start_ms: int) -> None:
        """Overwrite a bucket's facts with what nobody can read."""
        await self.clients["dynamodb"].update_item(
            TableName=self.settings.names.of(TABLE_LEDGER),
            Key=to_item(
                {
                    "pk": partition_key(self.app, "activity", ["fam-1"]),
                    "sk": sort_key([device], start_ms),
                }
            ),
            UpdateExpression="SET facts = :facts",
            ExpressionAttributeValues=to_item({":facts": b"spoilt"}),
        )

    async def listen(self) -> None:
        """Have the topic of outward messages, and a queue that hears it."""
        arn = (await self.clients["sns"].create_topic(Name=self.settings.names.of(TOPIC_SESSIONS)))[
            "TopicArn"
        ]
        await self.clients["sns"].subscribe(
            TopicArn=arn,
            Protocol="sqs",
            Endpoint=self.settings.names.queue_arn(self.settings.names.of(LISTENER)),
            Attributes={"RawMessageDelivery": "true"},
        )

    async def close(self, at_ms: int) -> list[dict[str, Any]]:
        """Move the clock and sweep until nothing is left; what was told since the last time."""
        self.now_ms = at_ms
        while await self._walk.sweep():
            pass
        return await self.heard()

    async def heard(self) -> list[dict[str, Any]]:
        """What was told since the last time, in order of arrival; waits for all that the topic has taken."""
        before = len(self.told)
        deadline = time.monotonic() + _ARRIVAL_SECONDS
        while True:
            self.told += [json.loads(one) for one in await _drain(self.outward)]
            if len(self.told) >= self.clients["sns"].taken:
                return self.told[before:]
            assert time.monotonic() < deadline, "what the topic took has not arrived"
            await asyncio.sleep(0.1)

    async def events_archived(self) -> list[Event]:
        """What the archive's queue holds."""
        return [one for body in await _drain(self.archived) for one in decode_chunk(body).events]


@asynccontextmanager
async def household(settings: CoreSettings) -> AsyncIterator[Household]:
    """Freshly provisioned, with a queue that listens to what is announced."""
    provision(settings, [processor.resource() for processor in discover()])
    worker_settings = WorkerSettings(**settings.model_dump())
    names = settings.names
    async with AwsClients(worker_settings) as aws:
        clients = {name: await aws.open(name) for name in ("sqs", "dynamodb", "sns", "s3")}
        clients["sns"] = Sns(clients["sns"])
        listener = names.of(LISTENER)
        for name in (listener, listener + DEAD_LETTER_SUFFIX):
            await clients["sqs"].create_queue(QueueName=name)
        home = Household(
            worker_settings,
            clients,
            await SqsQueue.open(clients["sqs"], listener),
            await SqsQueue.open(clients["sqs"], names.processor_queue("archive")),
        )
        await home.listen()
        yield home


async def _drain(queue: SqsQueue) -> list[str]:
    bodies = []
    while found := await queue.receive(wait_seconds=0):
        bodies += [one.body for one in found]
        await queue.delete(found)
    return bodies


def contents(told: Sequence[dict[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
    """What was told, by session and revision; a repetition must say the same."""
    found: dict[tuple[str, int], dict[str, Any]] = {}
    for body in told:
        assert found.setdefault((body["session_id"], body["revision"]), body) == body
    return found
