"""Every acknowledged event counts exactly once, whatever is killed, stopped or cut off while they come in.

A whole stack and two more session-workers, all of which reach the emulator over a network that can be cut.
`KINSTREAM_FAULTS=long` makes it 20,000 events, 30 kills of workers, 5 stops of the emulator and 10 cuts.
"""

import itertools
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from pydantic import SecretStr

from kinstream.settings import CoreSettings
from kinstream_devkit.apps import FIRST_APP
from kinstream_devkit.embedded.datadir import DataDir
from kinstream_devkit.embedded.emulator import HOST
from kinstream_devkit.embedded.environment import API, EMULATOR, Ports
from kinstream_devkit.embedded.stack import ANY_PORT, Stack, StackAddress, StackOptions
from kinstream_devkit.generate.world import Workload, generate
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.reference.events import Event, truth_of
from tests.support.model_truth import compare
from tests.support.network import Proxy, Trouble, proxy
from tests.support.sending import Reader, Sender, wait_for
from tests.support.stack import kinstream
from tests.support.workers import Deployment, WorkerProcesses, worker_processes

LONG = os.environ.get("KINSTREAM_FAULTS") == "long"
WORKER = "session-worker"
MORE_WORKERS = 2
REQUEST_EVENTS = 50
CUTS: dict[Trouble, float] = {"down": 10.0, "blackhole": 2.0, "reset": 2.0}
"""Kinds of cuts and their seconds. Nothing may give up because AWS is away for a while."""
VISIBILITY_SECONDS = 8
"""Not half a minute as in production: how soon another worker takes over from one that was killed."""


@dataclass(frozen=True)
class Extent:
    """How much is sent and how much goes wrong meanwhile."""

    families: int
    least_events: int
    kills_of_workers: int
    kills_of_the_api: int
    stops_of_the_emulator: int
    cuts: int

    def troubles(self, random: Random) -> list[str]:
        """All of it, in the order in which it happens."""
        # One in four is the stack's own, which the stack itself starts again.
        victims = itertools.cycle(["0", WORKER, "1", "0"])
        found = list(itertools.islice(victims, self.kills_of_workers))
        found += [API] * self.kills_of_the_api + [EMULATOR] * self.stops_of_the_emulator
        found += itertools.islice(itertools.cycle(CUTS), self.cuts)
        return random.sample(found, len(found))


EXTENT = Extent(480, 20_000, 30, 3, 5, 10) if LONG else Extent(48, 2_000, 4, 1, 1, 2)


@dataclass(frozen=True, slots=True)
class CutPorts(Ports):
    """Ports of a stack whose services reach the emulator through a proxy."""

    through: str

    @property
    def endpoint_url(self) -> str:
        return self.through


class CutStack(Stack):
    """A stack with a network between its services and the emulator, and impatient queues."""

    network: Proxy

    def __init__(self, options: StackOptions, exits: ExitStack) -> None:
        super().__init__(options)
        self._exits = exits

    def _choose_ports(self) -> Ports:
        ports = super()._choose_ports()
        self.network = self._exits.enter_context(proxy(f"http://{HOST}:{ports.emulator}"))
        return CutPorts(ports.http, ports.emulator, ports.redis, self.network.url)

    def _bootstrap(self, settings: CoreSettings) -> dict[str, str]:
        self._processors = [
            replace(queue, visibility_timeout_seconds=VISIBILITY_SECONDS) for queue in self._processors
        ]
        return super()._bootstrap(settings)


class Traffic:
    """Sends every event twice, shuffled, from a thread, until each is acknowledged."""

    def __init__(self, sender: Sender, events: Sequence[Event]) -> None:
        self._sender = sender
        self._events = Random(7).sample([*events, *events], 2 * len(events))
        self._failure: BaseException | None = None
        self._may_send = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._may_send.release(len(self._events))
        self._thread.join()
        if self._failure:
            raise self._failure

    def send_part(self, part: int, of: int) -> None:
        """Send up to this part of all: what goes wrong now meets what is under way."""
        requests = -(-len(self._events) // REQUEST_EVENTS)
        self._may_send.release(requests * (part + 1) // of - requests * part // of)
        wait_for(
            "traffic", lambda: self._failure is not None or self._sender.acknowledged > self._goal(part, of)
        )

    def _goal(self, part: int, of: int) -> int:
        return len(self._events) * part // of

    def _run(self) -> None:
        try:
            for start in range(0, len(self._events), REQUEST_EVENTS):
                self._may_send.acquire()
                self._sender.send_all(self._events[start : start + REQUEST_EVENTS])
        except BaseException as failure:  # noqa: BLE001 - raised again in the test's own thread
            self._failure = failure


@dataclass
class Scene:
    """What can be disturbed."""

    stack: CutStack
    address: StackAddress
    workers: WorkerProcesses
    deployment: Deployment
    told: list[str]
    """What the stack has said so far."""

    @property
    def data(self) -> DataDir:
        return DataDir(self.address.data_dir)

    def disturb(self, what: str) -> None:
        """One trouble, until it is over."""
        if what in CUTS:
            self.stack.network.cut(what)
            threading.Event().wait(CUTS[what])
            self.stack.network.mend()
        elif what in {API, WORKER, EMULATOR}:
            # The emulator keeps its state on a clean stop only.
            self._end(what, signal.SIGTERM if what == EMULATOR else signal.SIGKILL)
        else:
            self.workers.kill(int(what))
            self.workers.start(int(what))

    def wait_until_all_is_counted(self) -> None:
        """Until no queue holds anything, nor the journal, even of workers that were killed."""
        for queue in processor_queues():
            name = self.deployment.names.processor_queue(queue.name)
            wait_for(f"all of {name}", lambda n=name: self.deployment.messages(n) == 0)
        wait_for("all of the journal", lambda: not self.deployment.journal())

    def _end(self, name: str, how: signal.Signals) -> None:
        back = f"{name} is set up again" if name == EMULATOR else f"{name} is back"
        before = self._heard(back)
        os.kill(self.data.read_state().children[name].pid, how)
        wait_for(back, lambda: self._heard(back) > before)

    def _heard(self, words: str) -> int:
        return sum(words in line for line in self.told)


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    options = StackOptions(
        data_dir=tmp_path / "stack", port=ANY_PORT, services=(API, WORKER), restart_delay_seconds=1.0
    )
    with ExitStack() as exits:
        stack = exits.enter_context(CutStack(options, exits))
        told: list[str] = []
        address = stack.start(told.append)
        data = DataDir(address.data_dir)
        settings = CoreSettings(
            name_prefix=data.read_state().name_prefix,
            aws_endpoint_url=f"http://{HOST}:{data.read_state().ports['emulator']}",
            ledger_hash_key=SecretStr(data.ledger_hash_key()),
        )
        deployment = Deployment(settings)
        exits.callback(deployment.close)
        counting = {"KINSTREAM_PROCESSORS": "activity,content,safety"}
        workers = exits.enter_context(
            worker_processes(settings, tmp_path, stack.network.url, MORE_WORKERS, counting)
        )
        yield Scene(stack, address, workers, deployment, told)


@pytest.mark.timeout(3_600 if LONG else 1_200)
@pytest.mark.xdist_group("stack")
def test_kills_stops_and_cuts_while_events_come_in_lose_and_repeat_nothing(scene: Scene):
    world = generate(17, EXTENT.families, datetime.now(UTC) - timedelta(days=1))
    assert len(world.accepted) >= EXTENT.least_events
    for place in world.places:
        scene.deployment.put_place(FIRST_APP, place)
    troubles = EXTENT.troubles(Random(23))
    with (
        Sender(scene.address.url, scene.address.write_key) as sender,
        Traffic(sender, world.accepted) as traffic,
    ):
        for number, trouble in enumerate(troubles):
            traffic.send_part(number, len(troubles))
            scene.disturb(trouble)
    assert sender.refusals, "nothing of all that went wrong was felt"
    scene.wait_until_all_is_counted()
    compare(scene.deployment, FIRST_APP, world.accepted, world.places)
    assert_served(scene.address, world)
    for queue in processor_queues():
        assert scene.deployment.messages(f"{scene.deployment.names.processor_queue(queue.name)}-dlq") == 0
    audited = kinstream("audit", "--wait", "240", "--data-dir", str(scene.address.data_dir))
    assert audited.returncode == 0, audited.stdout + audited.stderr


def assert_served(address: StackAddress, world: Workload) -> None:
    """What the API answers about every customer."""
    truth = truth_of(world.accepted)
    with Reader(address.url, address.secret_key) as reader:
        served: dict[str, Any] = {
            customer: (reader.events(customer), sorted(s["event_count"] for s in reader.sessions(customer)))
            for customer in truth.by_type
        }
    assert served == {
        customer: (
            sum(types.values()),
            sorted(session.event_count for session in truth.sessions.get(customer, [])),
        )
        for customer, types in truth.by_type.items()
    }
