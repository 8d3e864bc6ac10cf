"""Starts the load generators as processes on the second core, and reads what they tell."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.collectors import Side
from benchmarks.processes import pinned
from benchmarks.runner import MissingError

CONNECTIONS = 64
_START_AND_DRAIN_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed loop: the next request of a connection goes out when the last one is answered."""

    requests: int
    seconds: float
    p99_ms: float
    cpu_seconds: float
    """Of the server meanwhile."""

    @property
    def per_second(self) -> float:
        """Requests."""
        return self.requests / self.seconds

    @property
    def busy(self) -> float:
        """Share of the time that the server computed. Well below 1 the load, not the server, was slow."""
        return self.cpu_seconds / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU of the server per request."""
        return self.cpu_seconds / self.requests * 1e6


def closed_loop(side: Side, bodies: Path, requests: int, connections: int = CONNECTIONS) -> Closed:
    """Send that many requests as fast as they are answered; MissingError where one is refused."""
    before = side.cpu_seconds
    told = _run("benchmarks.load", side, bodies, ["--requests", requests, "--connections", connections])
    spent = side.cpu_seconds - before
    if told["refused"]:
        raise MissingError(f"{told['refused']:.0f} of {told['requests']:.0f} requests were refused")
    return Closed(int(told["requests"]), told["seconds"], told["p99_ms"], spent)


def open_loop(
    side: Side, bodies: Path, per_second: float, seconds: float, options: Sequence[object] = ()
) -> dict[str, Any]:
    """Send at a fixed pace and measure from when each request was due; see `benchmarks.open_load`."""
    pace = ["--per-second", per_second, "--seconds", seconds]
    return _run("benchmarks.open_load", side, bodies, [*pace, *options], seconds)


def _run(
    program: str, side: Side, bodies: Path, options: Sequence[object], seconds: float = 0
) -> dict[str, Any]:
    command = [sys.executable, "-m", program, "--port", str(side.port), "--bodies", str(bodies)]
    command += ["--key", side.key, *map(str, options)]
    limit_seconds = seconds + _START_AND_DRAIN_SECONDS
    try:
        done = subprocess.run(
            pinned(1, command), capture_output=True, text=True, timeout=limit_seconds, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"the load did not end within {limit_seconds:.0f} s") from error
    if done.returncode:
        raise MissingError(f"the load generator failed: {done.stderr.strip().splitlines()[-1]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told
