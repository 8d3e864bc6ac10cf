"""Composition root of the recommender-trigger: reads settings, builds clients, runs until SIGTERM."""

import asyncio
import logging
import os
import secrets
import signal
import socket
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

from kinstream.aws import AwsClients
from kinstream.clock import now_ms
from kinstream.exporting import exporting
from kinstream.readiness import ReadyFile
from kinstream.resources import (
    BUCKET_ARCHIVE,
    BUCKET_TRAINING,
    QUEUE_EMR_EVENTS,
    TABLE_COUNTERS,
    TABLE_RECOMMENDATIONS,
    TABLE_REGISTRY,
)
from kinstream.settings import read_settings
from kinstream.startup import Check, buckets, saying_why, tables, wait_for
from kinstream.telemetry import configure_logging
from recommender_trigger.alerts import Operations
from recommender_trigger.customers import Customers
from recommender_trigger.emr_events import EmrEvents
from recommender_trigger.follower import Follower
from recommender_trigger.launchers.base import Launcher
from recommender_trigger.launchers.emr import EmrLauncher
from recommender_trigger.launchers.emr_serverless import EmrServerlessLauncher
from recommender_trigger.launchers.local import LocalLauncher
from recommender_trigger.publish import Publisher
from recommender_trigger.run_store import RunStore
from recommender_trigger.scheduler import Scheduler
from recommender_trigger.settings import TriggerSettings
from recommender_trigger.sweeper import Sweeper

log = logging.getLogger(__name__)


def build(
    settings: TriggerSettings,
    *,
    dynamodb: Any,
    s3: Any,
    sns: Any,
    launcher: Launcher,
    clock: Callable[[], int] = now_ms,
) -> Scheduler:
    """A scheduler out of one set of clients."""
    names = settings.names
    owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
    store = RunStore(dynamodb, names.of(TABLE_RECOMMENDATIONS), owner)
    customers = Customers(dynamodb, s3, names, settings.due_threshold_events)
    publisher = Publisher(dynamodb, s3, names, store, machines=settings.emr_machines)
    operations = Operations(sns, names)
    follower = Follower(
        settings=settings,
        store=store,
        launcher=launcher,
        publisher=publisher,
        customers=customers,
        operations=operations,
        now_ms=clock,
    )
    return Scheduler(
        settings=settings,
        customers=customers,
        store=store,
        launcher=launcher,
        follower=follower,
        sweeper=Sweeper(launcher=launcher, store=store, customers=customers, operations=operations),
        s3=s3,
        now_ms=clock,
    )


def needs(settings: TriggerSettings, dynamodb: Any, s3: Any) -> Mapping[str, Check]:
    """What the trigger cannot work without. EMR's events are not of it: without them runs are polled."""
    names = settings.names
    customers = Customers(dynamodb, s3, names, settings.due_threshold_events)
    return {
        f"table {names.of(TABLE_REGISTRY)}": customers.apps,
        f"table {names.of(TABLE_COUNTERS)}": customers.due,
        **tables(dynamodb, [names.of(TABLE_RECOMMENDATIONS)]),
        **buckets(s3, map(names.of, (BUCKET_ARCHIVE, BUCKET_TRAINING))),
    }


async def open_launcher(settings: TriggerSettings, once: AwsClients, s3: Any) -> Launcher:
    """The launcher that is set. `once` makes clients that try a call once."""
    match settings.launcher:
        case "emr":
            return EmrLauncher(await once.open("emr"), s3, settings)
        case "emr-serverless":
            return EmrServerlessLauncher(await once.open("emr-serverless"), s3, settings)
        case "local":
            return LocalLauncher(s3, settings)


async def run(settings: TriggerSettings) -> None:
    """Until SIGTERM or SIGINT. A run under way here is ended, one on a cluster is left to adopt."""
    stop = asyncio.Event()
    ready = ReadyFile(settings.ready_file)
    ready.clear()
    async with AsyncExitStack() as stack:
        aws = await stack.enter_async_context(AwsClients(settings))
        clients = {name: await aws.open(name) for name in ("dynamodb", "s3", "sns")}
        await wait_for(needs(settings, clients["dynamodb"], clients["s3"]), settings.startup_wait_seconds)
        # Not before: who is told to end while waiting has nothing to finish.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        # One attempt: RunJobFlow knows no token, and the follower looks for a cluster before another.
        once = await stack.enter_async_context(AwsClients(settings, max_attempts=1))
        launcher = await open_launcher(settings, once, clients["s3"])
        scheduler = build(settings, **clients, launcher=launcher)
        log.info("watching who is due", extra={"launcher": launcher.name})
        if launcher.name != LocalLauncher.name:
            queue_name = settings.names.of(QUEUE_EMR_EVENTS)
            events = EmrEvents(await aws.open("sqs"), queue_name, scheduler.look_now)
            listening = asyncio.create_task(events.listen())
            stack.callback(listening.cancel)
        work = asyncio.create_task(scheduler.run(stop, ready.mark))
        await asyncio.wait({work, asyncio.create_task(stop.wait())}, return_when=asyncio.FIRST_COMPLETED)
        with suppress(TimeoutError):
            await asyncio.wait_for(work, settings.shutdown_grace_seconds)
    ready.clear()


def main() -> None:
    """Entry point of the container."""
    settings = read_settings(TriggerSettings, "recommender-trigger")
    configure_logging("recommender-trigger", settings.log_level)
    with saying_why("recommender-trigger"), exporting("recommender-trigger", settings):
        asyncio.run(run(settings))
    log.info("stopped", extra={"pid": os.getpid()})


if __name__ == "__main__":
    main()
