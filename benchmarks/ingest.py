"""Rows `ingest-50` and `ingest-1`: the real collector process against a bare one and nginx, on the same core.

SNS and the registry are a stub in a process of its own that confirms at once, the load comes from a third
one, both on the other core. What counts is the CPU time of the measured process alone.
"""

from contextlib import ExitStack
from statistics import median

from benchmarks import collectors
from benchmarks.bodies import BODIES, write_bodies
from benchmarks.loading import CONNECTIONS, Closed, closed_loop
from benchmarks.runner import Bench, MissingError, Result, interleave, ratio, spread

_MOST = {"ingest-50": 2.0, "ingest-1": 2.5}


def measure(bench: Bench, name: str) -> Result:
    """The row of this name."""
    size = 50 if name == "ingest-50" else 1
    requests = bench.pick(1_500, 4_000) if size > 1 else bench.pick(15_000, 40_000)
    bodies = write_bodies(bench.folder / f"{name}.ndjson", [size])
    loops: dict[str, list[Closed]] = {}
    notes = []
    with ExitStack() as running:
        sides = {
            "bare": running.enter_context(collectors.bare()),
            "ours": running.enter_context(collectors.ours(bench.folder)),
        }
        try:
            sides["nginx"] = running.enter_context(collectors.nginx(bench.folder))
        except MissingError as missing:
            notes.append(f"nginx writing bodies to its log: not measured, {missing}")
        for side in sides.values():
            closed_loop(side, bodies, requests // 4)

        def one(side: str) -> float:
            loop = closed_loop(sides[side], bodies, requests)
            loops.setdefault(side, []).append(loop)
            return loop.cpu_us / size

        readings = interleave(
            bench.pick(3, 7), {side: lambda _, side=side: one(side) for side in sides}, bench.say
        )
    reached = ratio(readings["ours"], readings["bare"])
    mine, peer = median(readings["ours"]), median(readings["bare"])
    rate = median(loop.per_second * size for loop in loops["ours"])
    p99_ms = median(loop.p99_ms for loop in loops["ours"])
    notes.insert(
        0,
        f"{CONNECTIONS} connections in a closed loop, {requests:,} requests a round, "
        f"{bodies.stat().st_size // BODIES // size} bytes an event, ratio "
        f"{spread(readings['ours'], readings['bare'])}; in the loop {rate:,.0f} events/s, "
        f"p99 {p99_ms:.0f} ms; the peer checks nothing and stores nothing",
    )
    figures = {
        "ratio": reached,
        "cpu_us_per_event": mine,
        "cpu_us_per_event_bare": peer,
        "events_per_second": rate,
    }
    if "nginx" in readings:
        figures["cpu_us_per_event_nginx"] = median(readings["nginx"])
        notes.append(
            f"nginx writing bodies to its log, in the same rounds: {figures['cpu_us_per_event_nginx']:.2f} "
            f"µs, so ours is {ratio(readings['ours'], readings['nginx']):.2f}x of it"
        )
    return Result(
        f"{reached:.2f}x ({mine:.2f} against {peer:.2f} µs)", reached <= _MOST[name], notes, figures
    )
