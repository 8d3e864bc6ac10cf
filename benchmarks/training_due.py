"""Row `training-due`: one run for 1,000 due customers against one for a single one.

The job learns from everybody and writes everybody's list, so it is the same for both and is run once. What
differs is the trigger's own part, which is measured for both on an emulator: claiming who is due, publishing
the lists, setting customers back.
"""

import asyncio
import time
import uuid

from benchmarks.runner import Bench, Result
from benchmarks.training_growth import train
from kinstream.settings import CoreSettings
from recommender_trigger.domain.runs import Run
from tests.support.ministack import ministack
from tests.support.recommender import ScriptedLauncher
from tests.support.recommender import bench as deployment

_EVENTS = 100_000
_CUSTOMERS = 1_000
_MOST = 1.2


def measure(bench: Bench, name: str) -> Result:
    """The row."""
    bench.say(f"training on {_EVENTS:,} events")
    job, _ = train(bench.folder / "due", _EVENTS)
    with ministack() as url:
        seconds, cpu_seconds = {}, {}
        for due in (1, _CUSTOMERS):
            bench.say(f"the trigger with {due:,} due")
            settings = CoreSettings(name_prefix=f"b{uuid.uuid4().hex[:8]}", aws_endpoint_url=url)
            began, spent = time.monotonic(), time.process_time()
            prepared = asyncio.run(_run(settings, due))
            seconds[due] = job.seconds + time.monotonic() - began - prepared[0]
            cpu_seconds[due] = job.cpu_seconds + time.process_time() - spent - prepared[1]
    wall, cpu = (told[_CUSTOMERS] / told[1] for told in (seconds, cpu_seconds))
    return Result(
        f"{wall:.2f}x wall, {cpu:.2f}x CPU",
        max(wall, cpu) <= _MOST,
        [
            f"{seconds[1]:.1f} s ({cpu_seconds[1]:.1f} s CPU) for one, {seconds[_CUSTOMERS]:.1f} s "
            f"({cpu_seconds[_CUSTOMERS]:.1f} s CPU) for {_CUSTOMERS:,}: the job, the same for both, takes "
            f"{job.seconds:.1f} s ({job.cpu_seconds:.1f} s CPU), the rest is the trigger before an emulator, "
            f"whose own CPU is not counted; {_CUSTOMERS:,} lists are published in either case"
        ],
        {"wall_ratio": wall, "cpu_ratio": cpu},
    )


async def _run(settings: CoreSettings, due: int) -> tuple[float, float]:
    """One run of the trigger with a launcher that is done at once; (wall, CPU) seconds of preparing it."""
    began, spent = time.monotonic(), time.process_time()
    async with deployment(settings, training_min_due_customers=1) as stand:
        customers = [f"fam-{number}" for number in range(_CUSTOMERS)]
        await stand.fill_archive()
        await stand.make_due(*customers[:due])
        launcher = ScriptedLauncher()

        async def write(run: Run) -> None:
            await stand.write_output(run, customers)

        launcher.on_launch = write
        scheduler = stand.scheduler(launcher)
        prepared = time.monotonic() - began, time.process_time() - spent
        await scheduler.tick()
        await scheduler.idle()
        assert await stand.pointer() == launcher.launched[0]
        return prepared
