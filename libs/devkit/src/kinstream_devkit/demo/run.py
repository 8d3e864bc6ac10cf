"""The demo: real data through the whole of Kinstream, every result held against the reference."""

import asyncio
import shutil
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from kinstream.errors import KinstreamError
from kinstream.settings import CoreSettings
from kinstream_devkit.demo.client import DemoClient
from kinstream_devkit.demo.drive import Job, drive
from kinstream_devkit.demo.findings import Findings
from kinstream_devkit.demo.inputs import read_events, retention_seconds
from kinstream_devkit.demo.media import MediaFile, make_samples
from kinstream_devkit.demo.show import Show
from kinstream_devkit.embedded.prerequisites import java_problem
from kinstream_devkit.embedded.stack import ANY_PORT, Stack, StackOptions
from kinstream_devkit.generate.world import Workload, generate, renamed

DEFAULT_SEED = 7
DEFAULT_CUSTOMERS = 500

FEWEST_TO_TRAIN = 100
"""With fewer customers a model cannot be told from luck, and is not published."""

QUICK_TRAINING = {
    "KINSTREAM_ACTIVITY_TRAINING_THRESHOLD_EVENTS": "20",
    "KINSTREAM_ARCHIVE_LINGER_SECONDS": "4",
    "KINSTREAM_TRAINING_TICK_SECONDS": "1",
    "KINSTREAM_TRAINING_POLL_SECONDS": "1",
    "KINSTREAM_TRAINING_SETTLE_SECONDS": "2",
}
"""So that a run begins as soon as the events are in, where an operator would wait for more."""


@dataclass(frozen=True, slots=True)
class Target:
    """A stack that runs already."""

    url: str
    write_key: str
    secret_key: str


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to send, and where to: to a stack of the demo's own unless there is a target."""

    seed: int = DEFAULT_SEED
    customers: int = DEFAULT_CUSTOMERS
    events: tuple[Path, ...] = ()
    media: tuple[Path, ...] = ()
    target: Target | None = None
    keep: bool = False


def run_demo(options: DemoOptions, show: Show) -> Findings:
    """All of it. Whatever was started is stopped again, however it ends."""
    folder, keep = Path(tempfile.mkdtemp(prefix="kinstream-demo-")), options.keep
    started = time.monotonic()
    try:
        with show.step("making the input"):
            job = _job(options, folder, datetime.now(UTC))
        if options.target:
            findings = asyncio.run(_against(options.target, job, show))
        else:
            findings = _on_own_stack(job, show, folder / "stack")
    except KinstreamError:
        # Its logs are what the error's reader wants to see next.
        keep = True
        raise
    finally:
        if keep:
            show.say(f"kept: {folder} (look at it with `kinstream up --data-dir {folder / 'stack'}`)")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    findings.timings = show.timings | {"in all": time.monotonic() - started}
    return findings


def _job(options: DemoOptions, folder: Path, now: datetime) -> Job:
    if options.events:
        workload = read_events(list(options.events))
        source = ", ".join(path.name for path in options.events)
    else:
        workload = generate(options.seed, options.customers, now)
        source = f"a generated world, seed {options.seed}"
        if options.target:
            # It may have seen these families before: new ones begin at zero.
            workload = renamed(workload, f"{now:%y%m%d%H%M%S}")
    customer = _first_customer(workload)
    media = [MediaFile(path, customer) for path in options.media]
    if not media and not options.events:
        media = make_samples(folder / "media", customer, options.seed)
    return Job(source, workload, not options.events, media, _why_no_model(options))


def _first_customer(workload: Workload) -> str:
    customers = (delivery.event.get("customer_id") for delivery in workload.deliveries)
    return next((name for name in customers if isinstance(name, str) and name), "demo")


def _why_no_model(options: DemoOptions) -> str | None:
    if options.target:
        return "the stack trains when its own threshold is reached"
    if options.events:
        return "the demo waits for a training run with its own input only"
    if options.customers < FEWEST_TO_TRAIN:
        return f"fewer than {FEWEST_TO_TRAIN} customers are too few to judge a model by"
    return java_problem()


def _on_own_stack(job: Job, show: Show, data_dir: Path) -> Findings:
    usual = CoreSettings.model_fields["ledger_retention_seconds"].default
    retention = retention_seconds(job.workload, datetime.now(UTC), usual)
    variables = {**QUICK_TRAINING, "KINSTREAM_LEDGER_RETENTION_SECONDS": str(retention)}
    if job.is_generated:
        # A run that began earlier would recommend stories that were seen in events still under way.
        distinct = len(job.workload.accepted) - job.workload.duplicates
        variables["KINSTREAM_TRAINING_MIN_ARCHIVED_EVENTS"] = str(distinct)
    stack = Stack(StackOptions(data_dir=data_dir, port=ANY_PORT, variables=variables))
    try:
        with show.step("starting the embedded stack") as step:
            address = stack.start(step.say)
        target = Target(address.url, address.write_key, address.secret_key)
        return asyncio.run(_against(target, job, show))
    finally:
        with show.step("stopping the stack"):
            stack.stop()


async def _against(target: Target, job: Job, show: Show) -> Findings:
    async with DemoClient(target.url, target.write_key, target.secret_key) as client:
        return await drive(client, job, show)
