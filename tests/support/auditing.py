"""Events counted and archived as workers do it, and an audit of what came of them."""

import csv
import gzip
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from kinstream import keys
from kinstream.aws import AwsClients
from kinstream.clock import now_ms
from kinstream.dynamo import from_item, to_item
from kinstream.events import CONTENT_VIEWED, Event, format_time_ms
from kinstream.queues import SqsQueue
from kinstream.resources import BUCKET_ARCHIVE
from kinstream_devkit.audit.run import Result, Sources, Span, Terms, audit
from kinstream_devkit.demo.client import DemoClient
from session_worker.engine.sinks import SinkWriter
from session_worker.processors.archive import Archive
from session_worker.settings import WorkerSettings
from tests.support.engine import Engine, event, in_chunks, message
from tests.support.ingest import App, Service

DATA = Path(__file__).parents[3] / "shared/data/events/git-activity.csv.gz"
TWENTY_YEARS_SECONDS = 20 * 366 * 86_400


class Silent:
    """Hears how far an audit is and says nothing."""

    def at(self, what: str, done: int, total: int) -> None:
        """Nothing."""


@dataclass
class Bench:
    """One app's worker and archive."""

    app: App
    service: Service
    engine: Engine
    writer: SinkWriter
    s3: Any
    dynamodb: Any
    retention_ms: int

    async def count(self, events: Sequence[Event]) -> None:
        """As the stateful processors do."""
        for processor in ("activity", "content"):
            taken = [one for one in events if processor == "activity" or one.type.startswith("content.")]
            for chunks in in_chunks(in_chunks(taken, 100), 10):
                outcome = await self.engine.run(processor, *chunks, app=self.app.name)
                assert not outcome.failed

    async def archive(self, events: Sequence[Event]) -> None:
        """As the archive does, one file a date."""
        await self.writer.write([message(chunk, self.app.name) for chunk in in_chunks(events, 100)])

    async def take(self, events: Sequence[Event]) -> None:
        """Count and archive."""
        await self.count(events)
        await self.archive(events)

    async def files(self) -> list[str]:
        """Keys of the app's archive files."""
        answer = await self.s3.list_objects_v2(Bucket=self.bucket, Prefix=f"events/app={self.app.name}/")
        return [entry["Key"] for entry in answer.get("Contents", [])]

    @property
    def bucket(self) -> str:
        """Name of the archive's bucket."""
        return self.service.settings.names.of(BUCKET_ARCHIVE)

    async def change(self, table: str, key: keys.Key, **values: Any) -> None:
        """Plant other values into an item."""
        name = self.service.settings.names.of(table)
        where = to_item({"pk": key[0], "sk": key[1]})
        item = (await self.dynamodb.get_item(TableName=name, Key=where)).get("Item", where)
        await self.dynamodb.put_item(TableName=name, Item=item | to_item(values))

    async def items(self, table: str, partition: str) -> list[dict[str, Any]]:
        """Items under a partition key."""
        answer = await self.dynamodb.query(
            TableName=self.service.settings.names.of(table),
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": partition}),
        )
        return [from_item(item) for item in answer["Items"]]

    async def audit(self, span: Span | None = None, s3: Any = None) -> Result:
        """What an audit finds."""
        service = self.service
        sources = Sources(
            s3=s3 or service.aws("s3"),
            sqs=service.aws("sqs"),
            dynamodb=service.aws("dynamodb"),
            client=lambda: DemoClient(service.url, "", self.app.secret_key),
            names=service.settings.names,
        )
        terms = Terms(span or Span(), self.retention_ms, wait_seconds=0, now_ms=now_ms)
        return await audit(self.app.name, sources, terms, Silent())


@asynccontextmanager
async def bench(service: Service, app: App) -> AsyncIterator[Bench]:
    """A worker on the service's tables that counts the events of twenty years."""
    settings = WorkerSettings(
        **service.settings.model_dump() | {"ledger_retention_seconds": TWENTY_YEARS_SECONDS}
    )
    names = settings.names
    async with AwsClients(settings) as aws:
        clients = {name: await aws.open(name) for name in ("sqs", "dynamodb", "sns", "s3")}
        queue = await SqsQueue.open(clients["sqs"], names.processor_queue("archive"))
        writer = SinkWriter(Archive(), clients["s3"], names.of(BUCKET_ARCHIVE), queue)
        worker = Engine(settings, clients, queue)
        yield Bench(
            app, service, worker, writer, clients["s3"], clients["dynamodb"], TWENTY_YEARS_SECONDS * 1000
        )


def at(time_ms: int, **fields: Any) -> Event:
    """An event of that time."""
    return event(occurred_at=format_time_ms(time_ms), **fields)


def midnight_ms(days_ago: int) -> int:
    """When that day began in UTC."""
    return (now_ms() // 86_400_000 - days_ago) * 86_400_000


def real_events(most: int) -> list[Event]:
    """The first of the real events, in the order of their arrival."""
    with gzip.open(DATA, "rt", newline="") as file:
        return [_real(row) for row in islice(csv.DictReader(file), most)]


def _real(row: dict[str, str]) -> Event:
    return event(
        id=row["event_id"],
        type=CONTENT_VIEWED,
        customer_id=row["customer_id"],
        device_id="git",
        occurred_at=datetime.fromtimestamp(int(row["occurred_at"]), UTC).isoformat(),
        received_at_ms=int(row["received_at"]) * 1000,
        data={"content_id": row["content_id"]},
    )


def named(result: Result) -> set[tuple[str, str, str]]:
    """(kind, customer or content, what) of every drift."""
    return {(drift.kind, drift.subject, drift.what) for drift in result.drifts}
