"""The whole of Kinstream on one machine: emulator, Redis and the four services, kept running.

For a plain program: `with Stack(StackOptions(...)) as stack: address = stack.start(print)`. The
emulator saves what it holds (queues, tables) on a clean stop only; objects in buckets are on disk at once.
"""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.errors import PermanentError
from kinstream.resources import ProcessorQueue
from kinstream.settings import CoreSettings
from kinstream_devkit.embedded.datadir import DataDir, Process, StackState
from kinstream_devkit.embedded.emulator import free_port
from kinstream_devkit.embedded.environment import (
    EMULATOR,
    REDIS,
    SERVICES,
    Ports,
    core_settings,
    dependency_specs,
    service_environment,
    service_specs,
)
from kinstream_devkit.embedded.prerequisites import check_disk, check_port, check_programs, java_problem
from kinstream_devkit.embedded.supervisor import Supervisor
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.setting_up import set_up_catalog, set_up_emulator

PREFERRED_HTTP_PORT = 8080
PREFERRED_EMULATOR_PORT = 4566
ANY_PORT = 0

_POLL_SECONDS = 0.02
_BOOTSTRAP_RETRY_SECONDS = 0.5

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class StackOptions:
    """`port`: None prefers the usual ones, 0 takes any free one, another number insists on it.

    `variables` are laid over the environment of the services, `KINSTREAM_...` by name.
    """

    data_dir: Path = Path(".kinstream")
    port: int | None = None
    restart_delay_seconds: float = 0.5
    ready_timeout_seconds: float = 240.0
    services: tuple[str, ...] = SERVICES
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StackAddress:
    """Where a running stack is and how to call it."""

    url: str
    write_key: str
    secret_key: str
    data_dir: Path
    endpoint_url: str


class StackStoppedError(PermanentError):
    """The stack was told to stop before it was ready."""


class Stack:
    """One embedded stack. Nothing is left running after `stop`."""

    def __init__(self, options: StackOptions) -> None:
        self._options = options
        self._data = DataDir(options.data_dir)
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._supervisor: Supervisor | None = None
        self._processors: Sequence[ProcessorQueue] = ()
        self._progress: Progress = _ignore

    def start(self, on_progress: Progress | None = None) -> StackAddress:
        """Start everything and wait until it is ready.

        `on_progress` is told of each step and, later, of each child that had to be started again.
        PermanentError with a sentence for the user where that cannot work; then nothing is left running.
        """
        self._progress = on_progress or _ignore
        try:
            return self._start()
        except BaseException:
            self.stop()
            raise

    def request_stop(self) -> None:
        """Make a `start` under way give up. Safe in a signal handler."""
        self._stopping.set()

    def stop(self) -> None:
        """Stop the services, then Redis, then the emulator, which saves its state. May be repeated."""
        self._stopping.set()
        if self._supervisor:
            self._supervisor.stop()
            self._supervisor = None
            self._data.clear_state()
        self._data.unlock()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _start(self) -> StackAddress:
        self._prepare()
        ports = self._choose_ports()
        environment = service_environment(self._data, ports, {**os.environ, **self._options.variables})
        settings = core_settings(environment)
        # This process, too, talks to the emulator.
        os.environ |= {name: environment[name] for name in ("NO_PROXY", "no_proxy")}
        self._supervisor = self._supervise(ports, settings)
        with ThreadPoolExecutor(2) as pool:
            self._supervisor.add(dependency_specs(self._data, ports))
            java = pool.submit(java_problem)
            catalog = pool.submit(set_up_catalog, settings)
            self._processors = processor_queues()
            self._wait_for(EMULATOR)
            credentials = self._bootstrap(settings)
            catalog.result()
            self._progress("queues, tables, buckets and the catalog are there; starting the services")
            self._supervisor.add(service_specs(self._data, ports, environment, self._options.services))
            if problem := java.result():
                self._progress(f"note: {problem}")
        for name in (REDIS, *self._options.services):
            self._wait_for(name)
        return StackAddress(
            ports.url,
            credentials["write_key"],
            credentials["secret_key"],
            self._data.root,
            ports.endpoint_url,
        )

    def _prepare(self) -> None:
        check_programs((EMULATOR, *self._options.services))
        self._data.create()
        check_disk(self._data.root)
        self._data.lock()
        for name in self._data.end_leftovers():
            self._progress(f"ended {name}, left behind by a stack that was killed")

    def _choose_ports(self) -> Ports:
        last, asked = self._data.read_ports(), self._options.port
        if asked:
            check_port(asked)
        usual_http = () if asked == ANY_PORT else (PREFERRED_HTTP_PORT,)
        usual_emulator = () if asked == ANY_PORT else (PREFERRED_EMULATOR_PORT,)
        ports = Ports(
            http=asked or free_port(*_known(last, "http"), *usual_http),
            emulator=free_port(*_known(last, "emulator"), *usual_emulator),
            redis=free_port(*_known(last, "redis")),
        )
        self._data.write_ports({"http": ports.http, "emulator": ports.emulator, "redis": ports.redis})
        return ports

    def _supervise(self, ports: Ports, settings: CoreSettings) -> Supervisor:
        def tell_state(pids: Mapping[str, int]) -> None:
            self._data.write_state(
                StackState(
                    pid=os.getpid(),
                    url=ports.url,
                    endpoint_url=ports.endpoint_url,
                    redis_url=ports.redis_url,
                    catalog_url=settings.catalog_url.get_secret_value(),
                    name_prefix=settings.name_prefix,
                    ports={"http": ports.http, "emulator": ports.emulator, "redis": ports.redis},
                    children={name: Process.of(pid) for name, pid in pids.items()},
                    ledger_retention_seconds=settings.ledger_retention_seconds,
                )
            )

        def restarted(name: str) -> None:
            if name == EMULATOR:
                # Killed, it has forgotten what it had not saved, its queues and tables first of all.
                self._bootstrap(settings)
                self._progress(
                    f"{EMULATOR} is set up again (killed, it forgets what came since its last clean stop)"
                )

        return Supervisor(
            self._progress,
            restart_delay_seconds=self._options.restart_delay_seconds,
            on_change=tell_state,
            on_restarted=restarted,
        )

    def _bootstrap(self, settings: CoreSettings) -> dict[str, str]:
        """Create what is missing and the first app, again if the emulator dies meanwhile."""
        while True:
            self._raise_if_stopping()
            try:
                with self._lock:
                    return set_up_emulator(settings, self._processors, self._data)
            except (BotoCoreError, ClientError, OSError) as error:
                self._progress(f"the emulator does not take its set-up yet ({error}); trying again")
                self._stopping.wait(_BOOTSTRAP_RETRY_SECONDS)

    def _wait_for(self, name: str) -> None:
        assert self._supervisor
        deadline = time.monotonic() + self._options.ready_timeout_seconds
        while not self._supervisor.is_ready(name):
            self._raise_if_stopping()
            if time.monotonic() > deadline:
                raise PermanentError(
                    f"{name} was not ready within {self._options.ready_timeout_seconds:.0f} s. "
                    + self._supervisor.describe_log(name)
                )
            time.sleep(_POLL_SECONDS)
        self._progress(f"{name} is ready")

    def _raise_if_stopping(self) -> None:
        if self._stopping.is_set():
            raise StackStoppedError("stopped before it was ready")


def _known(ports: Mapping[str, int], name: str) -> tuple[int, ...]:
    return (ports[name],) if name in ports else ()


def _ignore(_: str) -> None:
    """Progress that nobody asked for."""
