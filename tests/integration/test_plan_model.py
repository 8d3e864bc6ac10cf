"""The model of `kinstream plan` against a real session-worker: a fan-out, a drain, and a surge on top of it.

The clock is the worker's own CPU time, so that a machine which is busy with other things changes nothing. The
long form, with tasks that the scaling orders, is `make check-plan`.
"""

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random

import numpy as np
import psutil
import pytest

from kinstream.events import Event
from kinstream.settings import CoreSettings
from kinstream_devkit.plan.domain.deployment import Deployment as Planned
from kinstream_devkit.plan.domain.deployment import deployment
from kinstream_devkit.plan.domain.fleet import Limits
from kinstream_devkit.plan.domain.simulation import simulate
from kinstream_devkit.plan.files import read_assumptions, read_handles
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.engine import event
from tests.support.repository import ROOT
from tests.support.stack import eventually
from tests.support.workers import Deployment, worker_processes

FIRST, SURGE = 500, 200
"""Messages that wait when the worker starts, and that come while it works."""
CHUNK = 6
MIX = {"screen.viewed": 0.75, "content.viewed": 0.15, "location.updated": 0.1}
WITHIN = 0.15
"""The model may be wrong by this share of all messages, at any moment."""
STEP_SECONDS = 0.01
LOOK_SECONDS = 0.1
"""Of the worker's CPU time: within so much it does a few per cent of the messages at most."""
_TEN_YEARS_SECONDS = 10 * 365 * 86_400


def planned() -> Planned:
    """The deployment as `kinstream plan` sees it, of these events and without a single task."""
    given = read_assumptions(over={"traffic": {"events_a_message": CHUNK, "mix": MIX}})
    found = deployment(given, read_handles(ROOT / "infra/terraform/processors.json"), "dev")
    asleep = replace(found.delays, task_start_seconds=1e9)
    return replace(
        found,
        consumers=tuple(replace(one, limits=Limits(0, 1, 30, 300)) for one in found.consumers),
        delays=asleep,
    )


def chunks(count: int, seed: int) -> Iterator[list[Event]]:
    """Visits of different customers, events of the mix."""
    draw = Random(seed)
    for number in range(count):
        kinds = draw.choices(list(MIX), weights=list(MIX.values()), k=CHUNK)
        yield [
            event(type=kind, customer_id=f"fam-{seed}-{number}", data={"content_id": "story-7"})
            for kind in kinds
        ]


@dataclass
class Run:
    """A worker's run as it was seen: at which CPU time how many messages were left, and when more came."""

    deployed: Deployment
    queue: str
    process: psutil.Process
    seen: list[tuple[float, int]] = field(default_factory=list)
    came: list[tuple[float, int]] = field(default_factory=list)

    def look(self) -> int:
        """How many are left."""
        before, left, after = self.cpu_seconds(), self.deployed.messages(self.queue), self.cpu_seconds()
        # While this process was kept waiting the worker may have done much: that was no look.
        if after - before < LOOK_SECONDS:
            self.seen.append(((before + after) / 2, left))
        return left

    def cpu_seconds(self) -> float:
        """What the worker has computed so far."""
        times = self.process.cpu_times()
        return times.user + times.system

    def until(self, left: int) -> None:
        """Look on until no more than so many are left."""
        eventually(lambda: self.look() <= left, f"{left} messages left")

    def send(self, messages: Sequence[list[Event]]) -> None:
        """Send more while it works."""
        for start in range(0, len(messages), 5):
            some = messages[start : start + 5]
            self.deployed.publish("demo", some)
            self.came.append((self.cpu_seconds(), len(some)))
            self.look()


@contextmanager
def a_worker(settings: CoreSettings, folder: Path, processor: str) -> Iterator[psutil.Process]:
    variables = {"KINSTREAM_PROCESSORS": processor}
    with worker_processes(settings, folder, str(settings.aws_endpoint_url), 1, variables) as workers:
        yield psutil.Process(workers.running[0].pid)


@pytest.fixture
def deployed(settings: CoreSettings) -> Iterator[Deployment]:
    believed = settings.model_copy(update={"ledger_retention_seconds": _TEN_YEARS_SECONDS})
    provision(believed, processor_queues())
    with closing(Deployment(believed)) as found:
        yield found


def test_model_agrees_with_a_real_worker_on_fan_out_drain_and_surge(deployed: Deployment, tmp_path: Path):
    plan, names = planned(), deployed.settings.names
    deployed.publish("demo", chunks(FIRST, seed=1))

    # What waits where, when nobody works: SNS and its filters.
    day = simulate(np.array([FIRST * CHUNK / 60] * 60), 1, plan)
    for one in plan.consumers:
        waits = deployed.messages(names.processor_queue(one.name))
        assert waits == pytest.approx(day.traces[one.name].backlog[-1], abs=WITHIN * FIRST), one.name

    with a_worker(deployed.settings, tmp_path, "activity") as process:
        run = Run(deployed, names.processor_queue("activity"), process)
        run.until(FIRST * 9 // 10)
        run.until(FIRST // 2)
        (from_cpu, before), (to_cpu, after) = next(s for s in run.seen if s[1] < FIRST), run.seen[-1]
        run.send(list(chunks(SURGE, seed=2)))
        run.until(0)

    # The rate of the first half; then what is left at every later look, the surge included.
    rate = (before - after) / (to_cpu - from_cpu)
    later = [(cpu - to_cpu, left) for cpu, left in run.seen if cpu >= to_cpu]
    arrivals = np.zeros(int(later[-1][0] / STEP_SECONDS) + 2)
    arrivals[0] = after
    for cpu, messages in run.came:
        arrivals[int((cpu - to_cpu) / STEP_SECONDS)] += messages
    (activity,) = (one for one in plan.consumers if one.name == "activity")
    alone = replace(
        plan,
        api=replace(plan.api, events_a_second=1e12),
        consumers=(replace(activity, messages_a_second=rate, limits=Limits(1, 1, 30, 300)),),
    )
    trace = simulate(arrivals * CHUNK / STEP_SECONDS, STEP_SECONDS, alone).traces["activity"]
    for cpu, left in later:
        expected = trace.backlog[int(cpu / STEP_SECONDS)]
        assert left == pytest.approx(expected, abs=WITHIN * (FIRST + SURGE)), f"{cpu:.2f} s of CPU later"
