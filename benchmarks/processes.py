"""Programs under measurement, each a process of its own, ended by its id whatever happens."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import psutil

from benchmarks.runner import MissingError
from kinstream.errors import PermanentError
from kinstream_devkit.embedded.redis_server import redis_command

_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_ROOT = Path(__file__).parent.parent


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pinned(core: int, command: Sequence[str]) -> list[str]:
    """The command on one core, where there are two and something to pin with."""
    if shutil.which("taskset") and (os.cpu_count() or 1) > 1:
        return ["taskset", "-c", str(core), *command]
    return list(command)


@contextmanager
def server(
    command: Sequence[str], port: int, environment: Mapping[str, str] | None = None
) -> Iterator[psutil.Process]:
    """A program that listens at the port, from then on until the block ends."""
    # A file and no pipe: nobody reads while it runs, and a full pipe would stop it.
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command,
            cwd=_ROOT,
            env=os.environ | dict(environment or {}),
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            _wait_for(process, port, " ".join(command[-3:]), said)
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def stub_aws(core: int = 1, *, keep: bool = False) -> Iterator[str]:
    """SNS and DynamoDB that confirm at once; their URL. With `keep` what SNS took can be counted."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.stub_aws", str(port), *(["--keep"] if keep else [])]
    with server(pinned(core, command), port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def redis(folder: Path, core: int = 1) -> Iterator[str]:
    """An empty Redis; its URL."""
    port = free_port()
    try:
        command = redis_command(port, folder)
    except PermanentError as error:
        raise MissingError(str(error)) from error
    with server(pinned(core, command), port):
        yield f"redis://127.0.0.1:{port}/0"


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time so far."""
    times = process.cpu_times()
    return times.user + times.system


def _wait_for(process: subprocess.Popen[bytes], port: int, name: str, output: IO[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            output.seek(0)
            said = output.read().decode(errors="replace").strip().splitlines()
            raise MissingError(f"{name} did not start: {said[-1] if said else 'it said nothing'}")
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise MissingError(f"{name} did not listen within {_START_SECONDS:.0f} s")
