"""The whole embedded stack for tests, started as a user starts it: `kinstream up`."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kinstream_devkit.embedded.emulator import console_script
from tests.support.containers import require_embedded

STOP_SECONDS = 120
"""Users are promised 10 s; a machine that runs the whole suite at once may take longer."""

_COMMAND_SECONDS = 300
_TEN_YEARS_SECONDS = 10 * 365 * 86_400

PATIENCE = {
    "KINSTREAM_AWS_TIMEOUT_SECONDS": "10",
    "KINSTREAM_REDIS_TIMEOUT_SECONDS": "10",
    "KINSTREAM_MEDIA_IMAGE_WAIT_SECONDS": "25",
    "KINSTREAM_SHUTDOWN_GRACE_SECONDS": "20",
}
"""For a machine on which an emulator may stand still for seconds: what a service gives up by itself is right
in production, and not what most tests are about. Nothing waits so long where all goes well."""


@dataclass(frozen=True)
class RunningStack:
    """A running `kinstream up`."""

    url: str
    write_key: str
    secret_key: str
    data_dir: Path
    process: subprocess.Popen[str]
    stderr_file: Path

    @property
    def notices(self) -> str:
        """What it has told the user so far."""
        return self.stderr_file.read_text()

    def state(self) -> dict[str, Any]:
        """What it tells other programs."""
        return dict(json.loads((self.data_dir / "state.json").read_text()))

    def pid(self, child: str) -> int:
        """Process id of a child."""
        return int(self.state()["children"][child]["pid"])

    def kill(self, child: str, number: signal.Signals = signal.SIGKILL) -> int:
        """End a child and wait until another took its place and is ready; the process id that it had."""
        back = f"{child} is set up again" if child == "ministack" else f"{child} is back"
        before, told = self.pid(child), self.notices.count(back)
        os.kill(before, number)
        eventually(lambda: self.notices.count(back) > told, back)
        return before

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Its exit code; TimeoutExpired where it hangs."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def eventually(condition: Callable[[], bool], what: str, seconds: float = 180) -> None:
    """Wait for a condition; a bound for a hang, no measure of speed."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.05)


def kinstream(
    *arguments: str, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [console_script("kinstream"), *arguments],
        env=os.environ | dict(variables or {}),
        capture_output=True,
        text=True,
        timeout=_COMMAND_SECONDS,
        check=False,
    )


@contextmanager
def running_stack(data_dir: Path, variables: Mapping[str, str] | None = None) -> Iterator[RunningStack]:
    """A stack on any free port. Events of the last ten years count, unless `variables` say otherwise."""
    require_embedded("a stack")
    retention = {"KINSTREAM_LEDGER_RETENTION_SECONDS": str(_TEN_YEARS_SECONDS)}
    data_dir.mkdir(parents=True, exist_ok=True)
    stderr_file = data_dir.with_name(data_dir.name + ".stderr")
    command = [console_script("kinstream"), "up", "--json", "--port", "0", "--data-dir", data_dir]
    with stderr_file.open("w") as stderr:
        process = subprocess.Popen(
            [*command, "--restart-delay-seconds", "0.1"],
            env=os.environ | PATIENCE | retention | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
    with process:
        try:
            assert process.stdout
            line = process.stdout.readline()
            assert line, f"`kinstream up` did not start:\n{stderr_file.read_text()}"
            yield RunningStack(
                **json.loads(line), data_dir=data_dir, process=process, stderr_file=stderr_file
            )
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
            process.kill()


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """One stack for every test of this pytest worker that asks for it. Such tests share an app: use
    customers and contents of your own. The marker that keeps them on one worker is set by itself."""
    with running_stack(tmp_path_factory.mktemp("stack") / "data") as running:
        yield running
