"""`python -m benchmarks.open_load`: requests at a fixed pace in an open loop, one line of JSON about it."""

import argparse
import asyncio
import gc
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import uvloop

from benchmarks.bodies import ID_PLACE, filled
from benchmarks.open_loop import Manner, OpenLoop
from benchmarks.schedule import Schedule, percentile


def requests_of(bodies: Path, port: int, key: str, size: int) -> Callable[[int], bytes]:
    """Makes request `number` from the bodies in turn. The place of an id, where there is one, is filled
    with the number of the event: `size` of them a request."""
    head = (
        f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\nContent-Length: "
    ).encode()
    made = [
        (head + b"%d\r\n\r\n%b" % (len(body), body)).split(ID_PLACE)
        for body in bodies.read_bytes().splitlines()
    ]
    return lambda number: filled(made[number % len(made)], number * size)


def summary(load: OpenLoop) -> dict[str, Any]:
    """What the load came to, for the program that started it."""
    delays = list(load.delays.values())
    return {
        "requests": load.schedule.count,
        "taken": len(delays),
        "failed": load.failed,
        "unfinished": load.unfinished,
        "refusals": sum(second.refused for second in load.seconds),
        "given_up": sum(second.given_up for second in load.seconds),
        "seconds": max((load.schedule.due_seconds(n) + d for n, d in load.delays.items()), default=0.0),
        "p50_ms": percentile(delays, 0.5) * 1000 if delays else None,
        "p99_ms": percentile(delays, 0.99) * 1000 if delays else None,
        "most_ms": max(delays) * 1000 if delays else None,
        "late_ms": load.late_seconds * 1000,
        "by_second": [asdict(second) for second in load.seconds],
    }


def main() -> None:
    """Send, measure, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bodies", type=Path, required=True, help="a file with a body a line")
    parser.add_argument("--key", default="none")
    parser.add_argument("--size", type=int, default=1, help="events a request, to number them")
    parser.add_argument("--per-second", type=float, required=True, help="requests")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, default=256, help="at most")
    parser.add_argument("--again", action="store_true", help="send again what was refused for now")
    args = parser.parse_args()
    load = OpenLoop(
        args.port,
        Schedule(args.per_second, round(args.per_second * args.seconds)),
        requests_of(args.bodies, args.port, args.key, args.size),
        Manner(connections=args.connections, again=args.again),
    )
    # Its own pauses would be taken for the server's.
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(load.run())
    print(json.dumps(summary(load)))


if __name__ == "__main__":
    main()
