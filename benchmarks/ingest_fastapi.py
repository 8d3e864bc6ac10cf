"""Row `ingest-fastapi`: requests a second of one event, against a FastAPI route that publishes nothing.

Enough connections in a closed loop keep the server's core busy; the two sides take turns on that core.
"""

from statistics import median

from benchmarks import collectors
from benchmarks.bodies import write_bodies
from benchmarks.loading import Closed, closed_loop
from benchmarks.runner import Bench, Result, interleave, ratio, spread

_LEAST = 2.0
_CONNECTIONS = (64, 256)


def measure(bench: Bench, name: str) -> Result:
    """The row; what counts is the worse of the two numbers of connections."""
    requests = bench.pick(12_000, 40_000)
    bodies = write_bodies(bench.folder / f"{name}.ndjson", [1])
    loops: dict[tuple[str, int], list[Closed]] = {}
    with collectors.ours(bench.folder) as ours, collectors.fastapi() as peer:
        sides = {"ours": ours, "fastapi": peer}
        for side in sides.values():
            closed_loop(side, bodies, requests // 4)

        def one(side: str, connections: int) -> float:
            loop = closed_loop(sides[side], bodies, requests, connections)
            loops.setdefault((side, connections), []).append(loop)
            return loop.per_second

        readings = interleave(
            bench.pick(3, 5),
            {
                f"{side}, {connections} connections": lambda _, side=side, connections=connections: one(
                    side, connections
                )
                for connections in _CONNECTIONS
                for side in sides
            },
            bench.say,
        )
    reached, notes = {}, []
    figures: dict[str, float] = {}
    for connections in _CONNECTIONS:
        mine, theirs = (readings[f"{side}, {connections} connections"] for side in sides)
        our_loops, their_loops = (loops[side, connections] for side in sides)
        reached[connections] = ratio(mine, theirs)
        cpu = ratio([loop.cpu_us for loop in their_loops], [loop.cpu_us for loop in our_loops])
        busy = [median(loop.busy for loop in side) for side in (our_loops, their_loops)]
        notes.append(
            f"{connections} connections: {median(mine):,.0f} against {median(theirs):,.0f} requests/s, "
            f"{spread(mine, theirs)}; its core {busy[0]:.0%} and {busy[1]:.0%} busy with it; "
            f"CPU a request {cpu:.2f}x less ({median(loop.cpu_us for loop in our_loops):.0f} against "
            f"{median(loop.cpu_us for loop in their_loops):.0f} µs)"
        )
        figures |= {
            f"requests_per_second_{connections}": median(mine),
            f"requests_per_second_fastapi_{connections}": median(theirs),
            f"cpu_ratio_{connections}": cpu,
        }
    least = min(reached.values())
    both = ", ".join(f"{value:.2f}x at {connections}" for connections, value in reached.items())
    return Result(f"{both} connections", least >= _LEAST, notes, {"ratio": least, **figures})
