"""The recommender's path against the emulator: tables filled by hand, a clock and a launcher to command."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from kinstream import keys
from kinstream.aws import AwsClients
from kinstream.dynamo import from_item, to_item
from kinstream.resources import TOPIC_OPERATIONS
from kinstream.settings import CoreSettings
from kinstream_devkit.provision import provision
from recommender_trigger.domain.attempts import Launched
from recommender_trigger.domain.runs import Run
from recommender_trigger.launchers.base import Progress, Status
from recommender_trigger.main import build
from recommender_trigger.run_store import RunStore
from recommender_trigger.scheduler import Scheduler
from recommender_trigger.settings import TriggerSettings
from tests.support.archive_files import files, tastes

APP = "demo"
START_MS = 4_000_000_000_000  # 2096: the emulator deletes what has expired by its own clock


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ms += int(seconds * 1000)


class ScriptedLauncher:
    """Keeps the protocol's promises without Spark: each look at a run yields the script's next status."""

    name = "scripted"

    def __init__(self, *script: Status, missing: str | None = None) -> None:
        self.script = list(script) or [Status(Progress.SUCCEEDED)]
        self.missing = missing
        self.launched: list[str] = []
        self.terminated: list[str] = []
        self.on_launch: Any = None

    async def unavailable(self) -> str | None:
        return self.missing

    async def find(self, run: Run) -> str | None:
        return run.run_id if run.run_id in self.launched else None

    async def launch(self, run: Run) -> str:
        self.launched.append(run.run_id)
        if self.on_launch:
            await self.on_launch(run)
        return run.run_id

    async def status(self, run: Run) -> Status:
        return self.script.pop(0) if len(self.script) > 1 else self.script[0]

    async def terminate(self, run: Run) -> None:
        self.terminated.append(run.run_id)

    async def at_work(self) -> list[Launched]:
        return []

    async def end(self, handle: str) -> None:
        self.terminated.append(handle)

    async def let_go(self, run: Run) -> None:
        pass


class Bench:
    """One deployment on the emulator."""

    def __init__(self, settings: TriggerSettings, clients: Mapping[str, Any]) -> None:
        self.settings = settings
        self.names = settings.names
        self.clients = clients
        self.clock = Clock()

    def scheduler(self, launcher: Any, **changes: Any) -> Scheduler:
        """A trigger process of its own."""
        settings = self.settings.model_copy(update=changes)
        clients = {name: self.clients[name] for name in ("dynamodb", "s3", "sns")}
        return build(settings, **clients, launcher=launcher, clock=self.clock)

    def store(self, owner: str = "somebody") -> RunStore:
        """The run store as another trigger sees it."""
        return RunStore(self.clients["dynamodb"], self.names.of("recommendations"), owner)

    async def put(self, table: str, key: keys.Key, **values: Any) -> None:
        item = to_item({"pk": key[0], "sk": key[1], **values})
        await self.clients["dynamodb"].put_item(TableName=self.names.of(table), Item=item)

    async def get(self, table: str, key: keys.Key) -> dict[str, Any]:
        answer = await self.clients["dynamodb"].get_item(
            TableName=self.names.of(table), Key=to_item({"pk": key[0], "sk": key[1]}), ConsistentRead=True
        )
        return from_item(answer.get("Item", {}))

    async def customer(self, customer_id: str) -> dict[str, Any]:
        return await self.get("counters", keys.customer_counters(APP, customer_id))

    async def pointer(self) -> str | None:
        """The run that is served."""
        return (await self.get("recommendations", keys.recommendation_pointer(APP))).get("run_id")

    async def make_due(self, *customers: str, events: int = 100, due_at_ms: int | None = None) -> None:
        for customer_id in customers:
            await self.put(
                "counters",
                keys.customer_counters(APP, customer_id),
                app=APP,
                customer_id=customer_id,
                events=events,
                events_since_training=events,
                due_shard=keys.DUE_SHARD,
                due_at_ms=due_at_ms or self.clock.now_ms,
            )

    async def count_more(self, customer_id: str, events: int) -> None:
        """Count events of a customer as the session-worker does."""
        pk, sk = keys.customer_counters(APP, customer_id)
        await self.clients["dynamodb"].update_item(
            TableName=self.names.of("counters"),
            Key=to_item({"pk": pk, "sk": sk}),
            UpdateExpression="ADD events_since_training :n",
            ExpressionAttributeValues=to_item({":n": events}),
        )

    async def fill_archive(self, customers: int = 30, per_customer: int = 40, contents: int = 40) -> None:
        end_ms = self.clock.now_ms - 3_600_000
        rows = tastes(customers, contents, groups=4, per_customer=per_customer, end_ms=end_ms)
        for key, body in files(rows, APP).items():
            await self.clients["s3"].put_object(Bucket=self.names.of("archive"), Key=key, Body=body)

    async def write_output(
        self, run: Run, customers: list[str], *, publish: bool = True, claimed: int | None = None
    ) -> None:
        """What the training job leaves behind."""
        for name, body in output_of(run.run_id, customers, publish=publish, claimed=claimed).items():
            await self.clients["s3"].put_object(
                Bucket=self.names.of("training"), Key=run.folder + name, Body=body
            )

    async def forget_runs(self) -> None:
        """Nothing was ever launched, asked for or published."""
        table = self.names.of("recommendations")
        for item in (await self.clients["dynamodb"].scan(TableName=table))["Items"]:
            key = {"pk": item["pk"], "sk": item["sk"]}
            await self.clients["dynamodb"].delete_item(TableName=table, Key=key)

    async def operations_queue(self) -> str:
        """URL of a queue that hears what operators hear."""
        url = (await self.clients["sqs"].create_queue(QueueName=self.names.of("heard")))["QueueUrl"]
        await self.clients["sns"].subscribe(
            TopicArn=self.names.topic_arn(TOPIC_OPERATIONS),
            Protocol="sqs",
            Endpoint=self.names.queue_arn(self.names.of("heard")),
            Attributes={"RawMessageDelivery": "true"},
        )
        return url

    async def heard(self, url: str) -> list[dict[str, Any]]:
        answer = await self.clients["sqs"].receive_message(
            QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=1
        )
        return [json.loads(message["Body"]) for message in answer.get("Messages", [])]


def output_of(
    run_id: str, customers: Sequence[str], *, publish: bool = True, claimed: int | None = None
) -> dict[str, bytes]:
    """Files of a run's output by name, as the job leaves them; `claimed` lists are in its manifest."""
    lines = [
        json.dumps({"customer_id": c, "items": [{"content_id": "s-1", "score": 1.5, "because": ["s-0"]}]})
        for c in customers
    ]
    manifest = {
        "format": 1,
        "run_id": run_id,
        "gate": {"publish": publish, "reason": "because of the figures"},
        "recommendations": {"customers": len(customers) if claimed is None else claimed},
    }
    return {
        "recommendations/part-0": "\n".join(lines).encode(),
        "manifest.json": json.dumps(manifest).encode(),
    }


def settings_of_little(core: CoreSettings, **changes: Any) -> TriggerSettings:
    """Settings under which little is enough for a run."""
    defaults = {
        "training_min_due_customers": 2,
        "training_settle_seconds": 0,
        "training_min_interval_seconds": 60,
        "training_poll_seconds": 0.01,
        "training_lease_seconds": 30,
        "due_threshold_events": 100,
    }
    return TriggerSettings(**(core.model_dump() | defaults | changes))


@asynccontextmanager
async def bench(core: CoreSettings, **changes: Any) -> AsyncIterator[Bench]:
    """A deployment with one app, and settings under which little is enough."""
    provision(core, [])
    settings = settings_of_little(core, **changes)
    async with AwsClients(settings) as aws:
        clients = {name: await aws.open(name) for name in ("dynamodb", "s3", "sns", "sqs")}
        made = Bench(settings, clients)
        await made.put("registry", keys.app(APP), created_at_ms=START_MS)
        yield made
