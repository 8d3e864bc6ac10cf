"""Row `ingest-memory`: what the collector's process holds under a steady load of all sizes of requests."""

import threading
import time

import psutil

from benchmarks import collectors
from benchmarks.bodies import write_bodies
from benchmarks.ingest_p99 import most_in_a_closed_loop
from benchmarks.loading import open_loop
from benchmarks.runner import Bench, MissingError, Result
from benchmarks.schedule import growth_bytes

_UNDER_BYTES = 20_000_000
_SIZES = (1, 2, 5, 10, 20, 50)


def measure(bench: Bench, name: str) -> Result:
    """The row: how far it rises above where it stood after the first minute (quick: the first third)."""
    seconds = bench.pick(30, 300)
    settled_seconds = bench.pick(10, 60)
    bodies = write_bodies(bench.folder / f"{name}.ndjson", _SIZES, own_ids=False)
    plain = write_bodies(bench.folder / f"{name}-plain.ndjson", _SIZES)
    with collectors.ours(bench.folder) as side:
        bench.say("the most in a closed loop")
        pace = most_in_a_closed_loop(side, plain, bench.pick(3_000, 8_000)).per_second / 2
        bench.say(f"{seconds} s at {pace:,.0f} requests/s")
        with _Watch(side.process) as watch:
            told = open_loop(side, bodies, pace, seconds, ["--size", max(_SIZES)])
    if told["taken"] != told["requests"]:
        raise MissingError(f"only {told['taken']:,} of {told['requests']:,} requests were taken")
    grown = growth_bytes(watch.samples, settled_seconds)
    last_mb = watch.samples[-1][1] / 1e6
    events = told["requests"] * sum(_SIZES) // len(_SIZES)
    return Result(
        f"{grown / 1e6:+.1f} MB, {last_mb:.0f} MB at the end",
        grown < _UNDER_BYTES,
        [
            f"{seconds} s at {pace:,.0f} requests/s of {min(_SIZES)} to {max(_SIZES)} events, {events:,} "
            f"events in all, each with an id of its own; resident memory sampled each second, the highest "
            f"after the first {settled_seconds} s against where it stood then"
        ],
        {"growth_mb": grown / 1e6, "resident_mb": last_mb},
    )


class _Watch:
    """Samples the resident memory of a process each second for as long as the block lasts."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.samples: list[tuple[float, int]] = []

    def __enter__(self) -> "_Watch":
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while True:
            self.samples.append((time.monotonic() - self._began, self._process.memory_info().rss))
            if self._over.wait(1.0):
                return
