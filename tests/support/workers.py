"""Session-workers against the emulator: in this process, or as real ones that can be killed."""

import os
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from kinstream import keys
from kinstream.aws import AwsClients, blocking_client
from kinstream.chunks import TYPES_ATTRIBUTE, Chunk, encode_chunk, types_attribute
from kinstream.dynamo import from_item, to_item
from kinstream.dynamodb_http import DynamoDbHttp
from kinstream.events import Event, parse_time_ms
from kinstream.resources import TABLE_COUNTERS, TABLE_REGISTRY, TOPIC_EVENTS
from kinstream.settings import CoreSettings
from kinstream_devkit.generate.walks import Place
from session_worker.main import Worker
from session_worker.settings import WorkerSettings

_PUBLISH_BATCH = 5
_READY_SECONDS = 180
_POLL_SECONDS = 0.1


@asynccontextmanager
async def worker_through(
    settings: CoreSettings, url: str, timeout_seconds: float = 8
) -> AsyncIterator[Worker]:
    """A worker with the clients that `session_worker.main` gives it, which reach AWS at `url`."""
    of_worker = WorkerSettings(**(settings.model_dump() | {"aws_endpoint_url": url}))
    async with (
        AwsClients(of_worker, max_attempts=2, read_timeout_seconds=timeout_seconds) as aws,
        aiohttp.ClientSession() as http,
    ):
        dynamodb = DynamoDbHttp.of(http, of_worker, timeout_seconds)
        clients = {name: await aws.open(name) for name in ("sqs", "sns", "s3")}
        yield Worker(of_worker, dynamodb=dynamodb, **clients)


class Deployment:
    """What is on the emulator, seen past any proxy."""

    def __init__(self, settings: CoreSettings) -> None:
        self.settings = settings
        self.names = settings.names
        self._clients = {name: blocking_client(name, settings) for name in ("dynamodb", "sqs", "sns")}

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def publish(self, app: str, chunks: Iterable[Sequence[Event]]) -> None:
        """Chunks on the topic of events, as ingest-api publishes them."""
        everything = list(chunks)
        for start in range(0, len(everything), _PUBLISH_BATCH):
            answer = self._clients["sns"].publish_batch(
                TopicArn=self.names.topic_arn(TOPIC_EVENTS),
                PublishBatchRequestEntries=[
                    {
                        "Id": str(number),
                        "Message": encode_chunk(Chunk(app=app, events=list(events))),
                        "MessageAttributes": {TYPES_ATTRIBUTE: types_attribute(events)},
                    }
                    for number, events in enumerate(everything[start : start + _PUBLISH_BATCH])
                ],
            )
            assert not answer.get("Failed")

    def rows(self, table: str) -> Iterator[dict[str, Any]]:
        """All items of a table."""
        pages = (
            self._clients["dynamodb"]
            .get_paginator("scan")
            .paginate(TableName=self.names.of(table), ConsistentRead=True)
        )
        for page in pages:
            yield from map(from_item, page["Items"])

    def journal(self) -> list[dict[str, Any]]:
        """What is counted and has not been added to the counters of contents yet."""
        return [row for row in self.rows(TABLE_COUNTERS) if "sums" in row]

    def put_place(self, app: str, place: Place) -> None:
        """Make a place known."""
        pk, sk = keys.place(app, place.customer_id, place.place_id)
        item = to_item({"pk": pk, "sk": sk, **asdict(place)})
        self._clients["dynamodb"].put_item(TableName=self.names.of(TABLE_REGISTRY), Item=item)

    def messages(self, queue: str) -> int:
        """How many messages a queue holds, seen or unseen."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._clients["sqs"].get_queue_attributes(QueueUrl=self._url(queue), AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)

    def take_bodies(self, queue: str) -> list[str]:
        """The bodies of what a queue holds, which is taken out of it."""
        bodies: list[str] = []
        while True:
            found = self._clients["sqs"].receive_message(QueueUrl=self._url(queue), MaxNumberOfMessages=10)
            if not found.get("Messages"):
                return bodies
            for message in found["Messages"]:
                bodies.append(message["Body"])
                self._clients["sqs"].delete_message(
                    QueueUrl=self._url(queue), ReceiptHandle=message["ReceiptHandle"]
                )

    def set_visibility(self, queue: str, seconds: int) -> None:
        """How soon a message that was received and not deleted is seen again."""
        self._clients["sqs"].set_queue_attributes(
            QueueUrl=self._url(queue), Attributes={"VisibilityTimeout": str(seconds)}
        )

    def listen(self, topic: str) -> str:
        """Name of a new queue that hears everything of a topic from now on."""
        name = self.names.of(f"listener-{uuid.uuid4().hex[:8]}")
        self._clients["sqs"].create_queue(QueueName=name)
        self._clients["sns"].subscribe(
            TopicArn=self.names.topic_arn(topic),
            Protocol="sqs",
            Endpoint=self.names.queue_arn(name),
            Attributes={"RawMessageDelivery": "true"},
        )
        return name

    def _url(self, queue: str) -> str:
        return str(self._clients["sqs"].get_queue_url(QueueName=queue)["QueueUrl"])


@dataclass
class WorkerProcesses:
    """Real processes of the session-worker."""

    folder: Path
    environment: Mapping[str, str]
    running: dict[int, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, number: int) -> None:
        """Start one, and wait until it is ready."""
        ready = self.folder / f"worker-{number}.ready"
        ready.unlink(missing_ok=True)
        with (self.folder / f"worker-{number}.log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "session_worker.main"],
                env=os.environ | self.environment | {"KINSTREAM_READY_FILE": str(ready)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.running[number] = process
        deadline = time.monotonic() + _READY_SECONDS
        while not ready.exists():
            assert process.poll() is None, f"the worker ended:\n{self.log(number)}"
            assert time.monotonic() < deadline, f"the worker does not get ready:\n{self.log(number)}"
            time.sleep(_POLL_SECONDS)

    def kill(self, number: int) -> None:
        """As kill -9."""
        process = self.running.pop(number)
        process.kill()
        process.wait()

    def ended(self) -> list[str]:
        """The logs of those that ended by themselves, which none should."""
        return [self.log(number) for number, process in self.running.items() if process.poll() is not None]

    def log(self, number: int) -> str:
        """The end of a worker's log."""
        return (self.folder / f"worker-{number}.log").read_text()[-3_000:]


@contextmanager
def worker_processes(
    settings: CoreSettings, folder: Path, url: str, count: int, variables: Mapping[str, str] | None = None
) -> Iterator[WorkerProcesses]:
    """So many workers that reach AWS at `url`."""
    workers = WorkerProcesses(
        folder,
        {
            "KINSTREAM_NAME_PREFIX": settings.name_prefix,
            "KINSTREAM_AWS_ENDPOINT_URL": url,
            "KINSTREAM_LEDGER_HASH_KEY": settings.ledger_hash_key.get_secret_value(),
            "KINSTREAM_LEDGER_RETENTION_SECONDS": str(settings.ledger_retention_seconds),
            "KINSTREAM_LOG_LEVEL": "WARNING",
            **(variables or {}),
        },
    )
    try:
        for number in range(count):
            workers.start(number)
        yield workers
        assert workers.ended() == []
    finally:
        for process in workers.running.values():
            process.terminate()
        for process in workers.running.values():
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def event_of(native: Mapping[str, Any], received_at_ms: int = 0) -> Event:
    """A native event as it travels once it is accepted."""
    fields = {name: value for name, value in native.items() if name != "data"}
    return Event(
        **fields,
        occurred_at_ms=parse_time_ms(native["occurred_at"]),
        received_at_ms=received_at_ms,
        data=msgspec.Raw(msgspec.json.encode(native.get("data", {}))),
    )
