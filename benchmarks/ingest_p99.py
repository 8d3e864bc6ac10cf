"""Row `ingest-p99`: how long senders wait for a durable answer at half of what the collector can take.

The most is found in a closed loop; then requests come in an open loop at half of that pace.
"""

from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import collectors
from benchmarks.bodies import write_bodies
from benchmarks.collectors import Side
from benchmarks.loading import Closed, closed_loop, open_loop
from benchmarks.runner import Bench, MissingError, Result

_UNDER_MS = 25.0
_REQUESTS = {1: (15_000, 30_000), 50: (1_500, 4_000)}


def measure(bench: Bench, name: str) -> Result:
    """The row, for requests of 1 event and of 50."""
    figures: dict[str, float] = {}
    notes = []
    for size, requests in _REQUESTS.items():
        bodies = write_bodies(bench.folder / f"{name}-{size}.ndjson", [size], own_ids=False)
        plain = write_bodies(bench.folder / f"{name}-{size}-plain.ndjson", [size])
        with collectors.ours(bench.folder) as side:
            bench.say(f"{size} events a request: the most in a closed loop")
            loop = most_in_a_closed_loop(side, plain, bench.pick(*requests))
            most = loop.per_second
            rounds = []
            for number in range(bench.pick(1, 3)):
                bench.say(f"{size} events a request: round {number + 1} at half of {most:,.0f} requests/s")
                rounds.append(_at(side, bodies, most / 2, bench.pick(5, 20), size))
        p99_ms = median(told["p99_ms"] for told in rounds)
        figures |= {f"p99_ms_{size}": p99_ms, f"most_requests_per_second_{size}": most}
        notes.append(_note(size, loop, rounds))
    worst_ms = max(figures[f"p99_ms_{size}"] for size in _REQUESTS)
    measured = ", ".join(f"{figures[f'p99_ms_{size}']:.1f} ms at {size}" for size in _REQUESTS)
    return Result(f"{measured} a request", worst_ms < _UNDER_MS, notes, figures)


def most_in_a_closed_loop(side: Side, bodies: Path, requests: int) -> Closed:
    """What the collector takes: of three loops after a first one, the one in the middle."""
    closed_loop(side, bodies, requests // 4)
    loops = [closed_loop(side, bodies, requests) for _ in range(3)]
    return sorted(loops, key=lambda loop: loop.per_second)[1]


def _at(side: Side, bodies: Path, per_second: float, seconds: float, size: int) -> dict[str, Any]:
    told = open_loop(side, bodies, per_second, seconds, ["--size", size])
    if told["taken"] != told["requests"]:
        raise MissingError(f"only {told['taken']:,} of {told['requests']:,} requests were taken")
    return told


def _note(size: int, loop: Closed, rounds: list[Mapping[str, Any]]) -> str:
    worst, late = (max(told[name] for told in rounds) for name in ("most_ms", "late_ms"))
    p99s = ", ".join(f"{told['p99_ms']:.1f}" for told in rounds)
    return (
        f"{size} a request: {loop.per_second:,.0f} requests/s at most, its core {loop.busy:.0%} busy with "
        f"them; {loop.per_second / 2:,.0f} in the open loop, "
        f"{rounds[0]['requests']:,} requests a round; p50 {median(t['p50_ms'] for t in rounds):.1f} ms, "
        f"p99 of the rounds {p99s} ms, longest {worst:.0f} ms; the load itself was up to {late:.0f} ms late, "
        "which counts as the server's delay"
    )
