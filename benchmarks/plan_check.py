"""Holds the model of `kinstream plan` against a real run with a surge: `make check-plan`, three minutes.

Real session-workers take from a real queue of the embedded emulator, over a network on which every
transaction takes a second: so tasks wait for AWS, as on AWS, and two cores are enough for several. The plan's
own scaling watches the real queue, and tasks that it orders are real processes. Its minutes are five seconds.

From the curve, the rate of the first task while it was alone with the surge, and the time that tasks took to
start, the model says what must have happened. Exit code 1 where it was too wrong.
"""

import argparse
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from kinstream.events import Event
from kinstream.settings import CoreSettings
from kinstream_devkit.plan.domain.curve import Floats, Surge, surged, times
from kinstream_devkit.plan.domain.deployment import Api, Consumer, Deployment
from kinstream_devkit.plan.domain.fleet import Delays, Fleet, Limits
from kinstream_devkit.plan.domain.simulation import Trace, simulate
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support import workers
from tests.support.engine import event
from tests.support.fault_proxy import Fault, Kind, fault_proxy
from tests.support.ministack import ministack

PROCESSOR = "activity"
CHUNK = 3
BASE, SURGE = 2.0, 20.0
"""Messages a second, and how many times as many."""
BEFORE_SECONDS, SURGE_SECONDS = 20.0, 40.0
TRANSACTION_SECONDS = 1.0
MOST_TASKS, BACKLOG_A_TASK = 3, 100
BUSY = 40
"""Messages that keep a task busy."""
DELAYS = Delays(
    period_seconds=5,
    metric_delay_seconds=5,
    out_periods=3,
    in_periods=6,
    in_below=0.9,
    task_start_seconds=0,
    in_share=0.5,
)
LIMITS = Limits(1, MOST_TASKS, out_after_seconds=5, in_after_seconds=20)
WITHIN = 0.15
"""Of all messages, the most that the model may be wrong by at any moment."""
_STEP_SECONDS = 0.25
_GIVE_UP_SECONDS = 200.0
_TEN_YEARS_SECONDS = 10 * 365 * 86_400


@dataclass
class Course:
    """What really happened; seconds since the load began."""

    seconds: list[float] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    tasks: list[int] = field(default_factory=list)


class Cluster:
    """Plays ECS: workers as processes."""

    def __init__(self, running: workers.WorkerProcesses) -> None:
        self._workers = running
        self._next = 1
        self._starting: list[threading.Thread] = []
        self.start_seconds: list[float] = []
        """How long each took."""

    def become(self, tasks: int) -> None:
        """Start as many as lack, end as many as are too many; does not wait for them."""
        self._starting = [thread for thread in self._starting if thread.is_alive()]
        while len(self._workers.running) + len(self._starting) < tasks:
            thread = threading.Thread(target=self._start, args=(self._next,))
            thread.start()
            self._starting.append(thread)
            self._next += 1
        while len(self._workers.running) > max(tasks, 1):
            _, process = self._workers.running.popitem()
            process.terminate()
            process.wait(60)

    def _start(self, number: int) -> None:
        began = time.monotonic()
        self._workers.start(number)
        self.start_seconds.append(time.monotonic() - began)

    def settle(self) -> None:
        """Wait for those that are starting."""
        for thread in self._starting:
            thread.join()


def main() -> int:
    """Run both and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--png", type=Path, default=Path(".kinstream/plan-check.png"), help="where the picture goes"
    )
    png = parser.parse_args().png
    console = Console(width=110)
    with deployed_worker() as (found, running):
        console.print(f"{BASE:g} messages a second, {BASE * SURGE:g} from {BEFORE_SECONDS:.0f} s on")
        cluster = Cluster(running)
        course = drive(found, cluster, Fleet(LIMITS, DELAYS))
    if not cluster.start_seconds:
        console.print("no task was added: is the machine too slow to send so much?")
        return 2
    rate, start_seconds = rate_alone(course), sum(cluster.start_seconds) / len(cluster.start_seconds)
    console.print(f"one task: {rate:.1f} messages a second, ready {start_seconds:.1f} s after its order")
    delays = replace(DELAYS, task_start_seconds=start_seconds)
    expected = simulate(curve(course.seconds[-1]) * CHUNK, _STEP_SECONDS, planned(rate, delays)).traces[
        PROCESSOR
    ]
    wrong = tell(console, course, expected)
    draw(course, expected, png)
    console.print(f"the picture: {png}")
    return 0 if wrong <= WITHIN else 1


def curve(seconds: float) -> Floats:
    """Messages a second of each step."""
    at = times(_STEP_SECONDS, seconds + _STEP_SECONDS)
    over = at > BEFORE_SECONDS + SURGE_SECONDS + 1
    rates = surged(np.full(len(at), BASE), at, Surge(SURGE, BEFORE_SECONDS, 1, SURGE_SECONDS))
    return np.where(over, 0.0, rates)


def planned(rate: float, delays: Delays) -> Deployment:
    """The same as the model sees it."""
    consumer = Consumer(
        name=PROCESSOR,
        messages_a_chunk=1,
        events_a_message=CHUNK,
        messages_a_second=rate,
        group_seconds=TRANSACTION_SECONDS,
        groups_at_once=2,
        messages_a_group=10,
        backlog_per_task=BACKLOG_A_TASK,
        limits=LIMITS,
        write_units={},
        read_units={},
        hot_keys=(),
        files_an_hour_a_task=0,
    )
    return Deployment(CHUNK, Api(1e9, 0.5, Limits(1, 1, 5, 20)), (consumer,), delays, spot_share=0)


@contextmanager
def deployed_worker() -> Iterator[tuple[workers.Deployment, workers.WorkerProcesses]]:
    """An emulator, a slow way to its tables, and one worker there."""
    with ministack() as url, fault_proxy(url) as slow, tempfile.TemporaryDirectory() as folder:
        slow.strike(Fault("TransactWriteItems", Kind.DELAY, times=10**9, seconds=TRANSACTION_SECONDS))
        settings = CoreSettings(
            name_prefix=f"t{uuid.uuid4().hex[:8]}",
            aws_endpoint_url=url,
            ledger_hash_key=SecretStr("a key for benchmarks"),
            ledger_retention_seconds=_TEN_YEARS_SECONDS,
            log_level="WARNING",
        )
        provision(settings, processor_queues())
        variables = {"KINSTREAM_PROCESSORS": PROCESSOR}
        with (
            workers.worker_processes(settings, Path(folder), slow.url, 1, variables) as running,
            closing(workers.Deployment(settings)) as found,
        ):
            yield found, running


def chunks(count: int) -> Iterator[Sequence[Event]]:
    """Visits of different customers."""
    for _ in range(count):
        customer = f"fam-{uuid.uuid4().hex}"
        yield [event(customer_id=customer) for _ in range(CHUNK)]


def rate_alone(course: Course) -> float:
    """Messages a second of the first task, while it was busy and alone."""
    alone = [n for n, tasks in enumerate(course.tasks) if tasks == 1 and course.left[n] >= BUSY]
    second = course.tasks.index(2) if 2 in course.tasks else course.tasks.index(max(course.tasks))
    first, last = alone[0], max(n for n in alone if n < second)
    done = [course.sent[n] - course.left[n] for n in (first, last)]
    return (done[1] - done[0]) / (course.seconds[last] - course.seconds[first])


def drive(found: workers.Deployment, cluster: Cluster, fleet: Fleet) -> Course:
    """Send by the curve, look, and scale as AWS would, until nothing is left and tasks are one again."""
    due = np.cumsum(curve(_GIVE_UP_SECONDS) * _STEP_SECONDS)
    course, loads, reports, sent = Course(), list[float](), 1, 0
    queue, began = found.names.processor_queue(PROCESSOR), time.monotonic()
    while (now := time.monotonic() - began) < _GIVE_UP_SECONDS:
        count = int(due[int(now / _STEP_SECONDS)]) - sent
        found.publish("demo", chunks(count))
        sent += count
        left = found.messages(queue)
        loads.append(left / BACKLOG_A_TASK)
        if now >= reports * DELAYS.period_seconds:
            fleet.report(now, sum(loads) / len(loads))
            loads, reports = [], reports + 1
        fleet.advance(now)
        cluster.become(fleet.ordered)
        for values, value in zip(
            (course.seconds, course.left, course.sent, course.tasks),
            (now, left, sent, fleet.ordered),
            strict=True,
        ):
            values.append(value)
        if sent >= int(due[-1]) and left == 0 and fleet.ordered == 1:
            break
        time.sleep(max(0.0, _STEP_SECONDS - (time.monotonic() - began - now)))
    cluster.settle()
    return course


def tell(console: Console, course: Course, expected: Trace) -> float:
    """Print both; the greatest difference as a share of all messages."""
    table = Table("", "real", "model", box=None, padding=(0, 2))
    real = np.interp(_ends(expected), course.seconds, course.left)
    model = expected.backlog + expected.held
    wrong = float(np.abs(real - model).max()) / course.sent[-1]
    rows = {
        "most waiting, messages": (real.max(), model.max()),
        "oldest message, s": (ages(course).max(), expected.oldest_seconds(_STEP_SECONDS).max()),
        "most tasks": (max(course.tasks), expected.ordered.max()),
        "second task ordered at, s": (
            _first(course.seconds, course.tasks),
            _first(_ends(expected), expected.ordered),
        ),
        "drained at, s": (_last(course.seconds, course.left), _last(_ends(expected), model)),
    }
    for name, values in rows.items():
        table.add_row(name, *(f"{value:,.0f}" for value in values))
    console.print(table)
    console.print(
        f"backlog differs by {wrong:.1%} of {course.sent[-1]:,} messages at most; {WITHIN:.0%} may be"
    )
    return wrong


def ages(course: Course) -> Floats:
    """How old the oldest message was, first come first served."""
    done = np.array(course.sent) - np.array(course.left)
    first_left = np.searchsorted(course.sent, done, side="right")
    came_at = np.array([*course.seconds, course.seconds[-1]])[first_left]
    return np.where(np.array(course.left) > 0, np.maximum(0, np.array(course.seconds) - came_at), 0.0)


def _ends(expected: Trace) -> Floats:
    ends: Floats = np.arange(1, len(expected.came) + 1) * _STEP_SECONDS
    return ends


def _first(seconds: Sequence[float] | Floats, tasks: Sequence[float] | Floats) -> float:
    return float(seconds[int(np.argmax(np.array(tasks) > 1))])


def _last(seconds: Sequence[float] | Floats, left: Sequence[float] | Floats) -> float:
    """When less was left than keeps a task busy."""
    return float(seconds[int(np.flatnonzero(np.array(left) > BUSY)[-1])])


def draw(course: Course, expected: Trace, file: Path) -> None:
    """Both over time."""
    figure = Figure(figsize=(9, 7), layout="constrained")
    backlog, age, tasks = figure.subplots(3, 1, sharex=True)
    for axis, label, real, model in (
        (backlog, "messages waiting or held", course.left, expected.backlog + expected.held),
        (age, "oldest message, s", ages(course), expected.oldest_seconds(_STEP_SECONDS)),
        (tasks, "tasks ordered", course.tasks, expected.ordered),
    ):
        axis.plot(course.seconds, real, label="real", color="black", linewidth=1)
        axis.plot(_ends(expected), model, label="model", color="tab:red", linewidth=1)
        axis.set_ylabel(label)
        axis.grid(visible=True, alpha=0.3)
    backlog.legend()
    tasks.set_xlabel("seconds")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=80, format="png")


if __name__ == "__main__":
    sys.exit(main())
