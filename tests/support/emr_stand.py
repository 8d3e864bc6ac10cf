"""A deployment whose runs are on the scripted EMR: triggers to start, to kill and to start again."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from kinstream import keys
from kinstream.aws import AwsClients, blocking_client
from kinstream.settings import CoreSettings
from kinstream_devkit.provision import provision
from recommender_trigger.domain.runs import Run
from recommender_trigger.launchers.base import Launcher
from recommender_trigger.main import build, open_launcher
from recommender_trigger.scheduler import Scheduler
from recommender_trigger.settings import TriggerSettings
from tests.support.fault_proxy import FaultProxy
from tests.support.recommender import APP, START_MS, Bench, Clock, output_of, settings_of_little
from tests.support.scripted_emr import Script, ScriptedEmr, door

CUSTOMERS = ("fam-1", "fam-2")
LEASE_SECONDS = 30
_MOST_TRIGGERS = 6
PATIENCE_SECONDS = 180
"""A bound for a hang."""


@dataclass(frozen=True)
class Place:
    """What the tests of one module share: an account with a deployment in it, and two ways to it."""

    core: CoreSettings
    emr: ScriptedEmr
    clock: Clock
    clear: FaultProxy
    faulty: FaultProxy


@contextmanager
def place(core: CoreSettings) -> Iterator[Place]:
    """Provisioned once."""
    provision(core, [])
    clock = Clock()
    s3 = blocking_client("s3", core)

    def job(arguments: list[str]) -> None:
        """What Spark would leave, at the addresses that it was given."""
        output = urlsplit(arguments[arguments.index("--output") + 1])
        run_id = arguments[arguments.index("--run-id") + 1]
        for name, body in output_of(run_id, CUSTOMERS).items():
            s3.put_object(Bucket=output.netloc, Key=f"{output.path.lstrip('/')}/{name}", Body=body)

    emr = ScriptedEmr(clock, job)
    assert core.aws_endpoint_url
    with door(emr, core.aws_endpoint_url) as clear, door(emr, core.aws_endpoint_url) as faulty:
        yield Place(core, emr, clock, clear, faulty)
    s3.close()


@dataclass(frozen=True)
class Way:
    """Clients and a launcher through one of the doors."""

    clients: Mapping[str, Any]
    launcher: Launcher


class EmrStand(Bench):
    """One test's look at the place, with nothing launched yet and two customers due."""

    def __init__(self, at: Place, settings: TriggerSettings, clear: Way, faulty: Way) -> None:
        super().__init__(settings, clear.clients)
        self.clock = at.clock
        self.emr = at.emr
        self.faults = at.faulty
        self._clear = clear
        self._faulty = faulty

    async def begin(self, *scripts: Script) -> None:
        """From the beginning, with these scripts."""
        await self.forget_runs()
        self.emr.forget(*scripts)
        self.faults.relent()
        self.faults.live()
        await self.make_due(*CUSTOMERS)

    def trigger(self, *, faulty: bool = False, **changes: Any) -> Scheduler:
        """A trigger process of its own."""
        way = self._faulty if faulty else self._clear
        settings = self.settings.model_copy(update=changes)
        clients = {name: way.clients[name] for name in ("dynamodb", "s3", "sns")}
        return build(settings, **clients, launcher=way.launcher, clock=self.clock)

    async def serve(self, trigger: Scheduler) -> Run:
        """Let a trigger do what there is to do; the newest run."""
        await trigger.tick()
        await trigger.idle()
        return await self.last()

    async def until_launched(self, attempts: int = 1) -> None:
        """Wait until so many were launched."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.emr.attempts) < attempts:  # noqa: ASYNC110 - EMR is another thread's
                await asyncio.sleep(0.01)

    async def last(self) -> Run:
        """The newest run."""
        return (await self.store().recent(APP))[0]

    async def killed_after(self, calls: int) -> bool:
        """A trigger that is killed after so many calls; whether it came to that."""
        trigger = self.trigger(faulty=True)
        self.faults.die_after(calls)
        work = asyncio.create_task(self.serve(trigger))
        while not work.done() and not await asyncio.to_thread(self.faults.has_died, 0.05):
            pass
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)
        # It reaches nothing any more: what it would do in its last moments does not happen.
        await trigger.close()
        # What it had sent before is done long before its lease runs out; what comes later never arrives.
        async with asyncio.timeout(PATIENCE_SECONDS):
            while self.faults.under_way:  # noqa: ASYNC110 - the proxy is another thread's
                await asyncio.sleep(0.01)
        return self.faults.has_died(0)

    async def deaths(
        self, *scripts: Script, first: int = 0, last: int = 200, stride: int = 1
    ) -> AsyncIterator[tuple[int, list[Run]]]:
        """Each time from the beginning: a trigger that dies after so many calls, and the runs when others
        have carried on; ends with the trigger that comes to its end alive.

        One that neither dies nor ends has met another mishap: others carry on from it just the same.
        """
        for calls in range(first, last + 1, stride):
            await self.begin(*scripts)
            died = await self.killed_after(calls)
            runs = await self.store().recent(APP)
            has_lived = not died and bool(runs) and runs[0].state.is_end
            yield calls, await self.carried_on()
            if has_lived:
                return

    async def carried_on(self) -> list[Run]:
        """Another trigger, later, until no run is under way any more; all runs, newest first."""
        trigger = self.trigger()
        for _ in range(_MOST_TRIGGERS):
            self.clock.move(LEASE_SECONDS + 1)
            await trigger.tick()
            await trigger.idle()
            runs = await self.store().recent(APP)
            if runs and runs[0].state.is_end and await self.store().lock(APP) is None:
                break
        self.clock.move(self.settings.training_sweep_seconds)
        await trigger.close()
        await self.trigger(training_enabled=False).tick()
        return runs

    async def told(self, run_id: str) -> list[dict[str, Any]]:
        """What operators have been told of a run; whatever they were told is forgotten with it."""
        url, found = await self.operations_queue(), []
        while True:
            answer = await self.clients["sqs"].receive_message(QueueUrl=url, MaxNumberOfMessages=10)
            messages = answer.get("Messages", [])
            if not messages:
                return [alert for alert in found if alert["run_id"] == run_id]
            found += [json.loads(message["Body"]) for message in messages]
            for message in messages:
                receipt = message["ReceiptHandle"]
                await self.clients["sqs"].delete_message(QueueUrl=url, ReceiptHandle=receipt)

    async def waiting(self) -> dict[str, int]:
        """Events that each customer is due for."""
        return {
            name: item["events_since_training"]
            for name in CUSTOMERS
            if "due_shard" in (item := await self.customer(name))
        }


@asynccontextmanager
async def emr_stand(at: Place, launcher: str = "emr") -> AsyncIterator[EmrStand]:
    """Clients through both doors."""
    settings = settings_of_little(
        at.core,
        launcher=launcher,
        training_lease_seconds=LEASE_SECONDS,
        training_min_archived_events=0,
        training_min_archived_customers=0,
        emr_subnet_ids="subnet-a,subnet-b",
        emr_serverless_application_id="00a1",
        emr_serverless_role_arn="arn:aws:iam::000000000000:role/kinstream-emr-job",
    )
    async with (
        _way(settings, at.clear.url, max_attempts=2) as clear,
        _way(settings, at.faulty.url, max_attempts=1) as faulty,
    ):
        stand = EmrStand(at, settings, clear, faulty)
        await stand.operations_queue()
        await stand.put("registry", keys.app(APP), created_at_ms=START_MS)
        yield stand


@asynccontextmanager
async def _way(settings: TriggerSettings, url: str, max_attempts: int) -> AsyncIterator[Way]:
    through = settings.model_copy(update={"aws_endpoint_url": url})
    async with (
        AwsClients(through, max_attempts=max_attempts) as aws,
        AwsClients(through, max_attempts=1) as once,
    ):
        clients = {name: await aws.open(name) for name in ("dynamodb", "s3", "sns", "sqs")}
        yield Way(clients, await open_launcher(through, once, clients["s3"]))
