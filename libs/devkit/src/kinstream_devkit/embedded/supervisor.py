"""Child processes that are kept running: started, watched, started again, stopped in order."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kinstream.errors import PermanentError
from kinstream_devkit.embedded import guard
from kinstream_devkit.embedded.logs import bound_log, last_lines

POLL_SECONDS = 0.05
MAX_RESTART_DELAY_SECONDS = 30.0
STABLE_SECONDS = 10.0
"""A child that was ready for so long has started well: what ended it later is a new story."""

ATTEMPTS_UNTIL_SHOWN = 3
_LOG_CHECK_SECONDS = 10.0

Notify = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """A program to keep running. `stop_rank`: the lowest is stopped first, equals at the same time."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_file: Path
    is_ready: Callable[[], bool]
    stop_rank: int
    stop_seconds: float
    ready_file: Path | None = None


class Child:
    """One program and, while it runs, its process. Only the supervisor's thread touches it."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.ready = False
        self.failures = 0
        """How often in a row it ended before it had run well."""
        self.restart_at = 0.0
        self.has_run = False
        self._ready_since = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it in a process group of its own: a terminal's Ctrl-C is for the supervisor alone."""
        if self.spec.ready_file:
            self.spec.ready_file.unlink(missing_ok=True)
        bound_log(self.spec.log_file)
        with self.spec.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", guard.__file__, str(os.getpid()), *self.spec.command],
                env=dict(self.spec.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """Its exit code if it has ended."""
        return self._process.poll() if self._process else None

    def became_ready(self) -> bool:
        """Whether it is ready since this very call."""
        if self.ready or not self._process or not self.spec.is_ready():
            return False
        self.ready, self._ready_since = True, time.monotonic()
        return True

    def bury(self, first_delay_seconds: float) -> float:
        """Take note that it ended; seconds until it is started again, more each time it fails early."""
        ran_well = self.ready and time.monotonic() - self._ready_since >= STABLE_SECONDS
        self.failures = 1 if ran_well else self.failures + 1
        self.signal_group(signal.SIGKILL)
        self._process, self.ready, self.has_run = None, False, True
        delay = min(first_delay_seconds * float(1 << min(self.failures - 1, 16)), MAX_RESTART_DELAY_SECONDS)
        self.restart_at = time.monotonic() + delay
        return delay

    def terminate(self) -> None:
        """Ask it to end; it tells its own children."""
        if self._process:
            self._process.terminate()

    def signal_group(self, number: signal.Signals) -> None:
        """Signal it and every process that it started and that stayed in its group."""
        if self._process:
            try:
                os.killpg(self._process.pid, number)
            except (ProcessLookupError, PermissionError):  # macOS: the latter where only a zombie is left
                return

    def reap(self) -> None:
        """End what is left of it and collect its exit code."""
        self.signal_group(signal.SIGKILL)
        if self._process:
            self._process.wait()
        self._process, self.ready = None, False


class Supervisor:
    """Keeps children running, from one thread of its own.

    The thread starts every child, because a child's parent is the thread that started it: the system
    tells the child to end when that thread does.
    """

    def __init__(
        self,
        notify: Notify,
        *,
        restart_delay_seconds: float,
        on_change: Callable[[Mapping[str, int]], None],
        on_restarted: Callable[[str], None],
    ) -> None:
        self._notify = notify
        self._restart_delay_seconds = restart_delay_seconds
        self._on_change = on_change
        self._on_restarted = on_restarted
        self._children: dict[str, Child] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)
        self._next_log_check = time.monotonic() + _LOG_CHECK_SECONDS

    def add(self, specs: Sequence[ChildSpec]) -> None:
        """Start these beside what runs already."""
        self._children = self._children | {spec.name: Child(spec) for spec in specs}
        if not self._thread.ident:
            self._thread.start()

    def is_ready(self, name: str) -> bool:
        """Whether a child is ready; PermanentError with the end of its log where it cannot start."""
        child = self._children[name]
        if not child.ready and child.failures >= ATTEMPTS_UNTIL_SHOWN:
            raise PermanentError(f"{name} does not start. {self._story(child)}")
        return child.ready

    def describe_log(self, name: str) -> str:
        """The end of a child's log, for a person."""
        return self._story(self._children[name])

    def stop(self) -> None:
        """Stop all in order and wait for it. Bounded by the sum of the ranks' `stop_seconds`."""
        self._stopping.set()
        if self._thread.ident:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(POLL_SECONDS):
            for child in self._children.values():
                self._look_after(child)
            self._bound_logs()
        self._stop_all()

    def _look_after(self, child: Child) -> None:
        if child.pid is None:
            if time.monotonic() >= child.restart_at:
                child.start()
                self._tell_pids()
            return
        code = child.exit_code()
        if code is not None:
            delay = child.bury(self._restart_delay_seconds)
            self._notify(f"{child.spec.name} ended ({_manner(code)}); it is started again in {delay:.1f} s")
            if child.failures % ATTEMPTS_UNTIL_SHOWN == 0:
                self._notify(f"{child.spec.name} keeps ending. {self._story(child)}")
        elif child.became_ready() and child.has_run:
            self._notify(f"{child.spec.name} is back")
            # Not in this thread: the others must be looked after meanwhile.
            threading.Thread(target=self._on_restarted, args=(child.spec.name,), daemon=True).start()

    def _tell_pids(self) -> None:
        self._on_change({name: child.pid for name, child in self._children.items() if child.pid})

    def _bound_logs(self) -> None:
        if time.monotonic() < self._next_log_check:
            return
        self._next_log_check = time.monotonic() + _LOG_CHECK_SECONDS
        for child in self._children.values():
            bound_log(child.spec.log_file)

    def _story(self, child: Child) -> str:
        lines = last_lines(child.spec.log_file)
        return f"The end of {child.spec.log_file}:\n{lines}" if lines else "It wrote no log."

    def _stop_all(self) -> None:
        for rank in sorted({child.spec.stop_rank for child in self._children.values()}):
            group = [child for child in self._children.values() if child.spec.stop_rank == rank]
            for child in group:
                child.terminate()
            deadline = time.monotonic() + max(child.spec.stop_seconds for child in group)
            while any(child.pid and child.exit_code() is None for child in group):
                if time.monotonic() >= deadline:
                    break
                time.sleep(POLL_SECONDS)
            for child in group:
                if child.pid and child.exit_code() is None:
                    self._notify(f"{child.spec.name} did not stop in time and was killed")
                child.reap()


def _manner(code: int) -> str:
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
