"""A real AWS emulator for tests, over real HTTP."""

import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from kinstream_devkit.embedded.emulator import (
    HOST,
    answers,
    emulator_command,
    emulator_environment,
    free_port,
    wait_until,
)
from tests.support.containers import require_embedded

_START_ATTEMPTS = 4
_START_SECONDS = 120
_STOP_SECONDS = 60
"""Killed, it would lose what it is to save."""


@contextmanager
def ministack(
    state_dir: Path | None = None,
    port: int | None = None,
    variables: Mapping[str, str] | None = None,
    command: Sequence[str] | None = None,
) -> Iterator[str]:
    """Endpoint URL of an emulator of its own. With a `state_dir` a later one there finds its state."""
    require_embedded("an emulator")
    with tempfile.TemporaryDirectory(prefix="kinstream-ministack-") as scratch:
        process, chosen = _start(
            command or emulator_command(), Path(scratch), state_dir, port, variables or {}
        )
        try:
            yield f"http://{HOST}:{chosen}"
        finally:
            stop(process)


def _start(
    command: Sequence[str],
    scratch: Path,
    state_dir: Path | None,
    port: int | None,
    variables: Mapping[str, str],
) -> tuple[subprocess.Popen[bytes], int]:
    log = scratch / "ministack.log"
    for _ in range(_START_ATTEMPTS):
        chosen = port or free_port()
        with log.open("wb") as sink:
            process = subprocess.Popen(
                command,
                env=emulator_environment(chosen, scratch, state_dir) | variables,
                cwd=scratch,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
            )
        # The process must outlive the first answer: another server may have taken the port first.
        if (
            wait_until(lambda p=chosen: answers(p), lambda p=process: p.poll() is None, _START_SECONDS)
            and process.poll() is None
        ):
            return process, chosen
        stop(process)
    raise RuntimeError(f"the emulator did not start:\n{log.read_text()[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    """End the process: SIGTERM, by which the emulator saves its state, then SIGKILL."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
        return
    process.kill()
    process.wait()
