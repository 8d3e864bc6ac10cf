"""What senders see when SNS is cut off under load: 503 with Retry-After, no loss, and a quick recovery.

ingest-api runs as it is, before a stub whose SNS stops answering for a while, as if a network lost every
packet. Clients send at a fixed pace and come again after Retry-After. It speaks to 127.0.0.1 alone, and
ends by itself. Exit code 1 where it did not show what it should, 2 where it could not run.
"""

import argparse
import asyncio
import math
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass
from pathlib import Path

import httpx
import uvloop
from rich.console import Console

from benchmarks import collectors
from benchmarks.bodies import write_bodies
from benchmarks.collectors import Side
from benchmarks.open_load import requests_of
from benchmarks.open_loop import Manner, OpenLoop
from benchmarks.outage import Outage, Verdict, overdue_until, verdicts
from benchmarks.runner import MissingError
from benchmarks.schedule import Schedule

_EXAMPLES = """examples:
  python -m benchmarks.backpressure                        a minute of load, half of it without SNS
  python -m benchmarks.backpressure --cut-seconds 8        in short
  python -m benchmarks.backpressure --events-per-second 10000 --events-a-request 100
"""
_DRAIN_SECONDS = 60.0
_BACKLOG = "kinstream_backlog_events "
_COLUMNS = ("sent", "2xx", "refused", "Retry-After", "no answer")
"""As the fields of `open_loop.Second`."""
_LINE = "{:>4} {:<4} {:>7} {:>7} {:>7} {:>11} {:>9} {:>8} {:>5}"


@dataclass
class Course:
    """How the load went."""

    load: OpenLoop
    cut: float = math.inf
    mended: float = math.inf
    """Seconds since the start of the load."""


def main() -> int:
    """Show it."""
    args = _arguments()
    console = Console()
    size = args.events_a_request
    seconds = args.before_seconds + args.cut_seconds + args.after_seconds
    count = max(1, round(args.events_per_second / size * seconds))
    console.print(
        f"{args.events_per_second:,} events/s in requests of {size}, counted below; SNS goes away after "
        f"{args.before_seconds} s for {args.cut_seconds} s; backlog in events, memory of the process."
    )
    try:
        with tempfile.TemporaryDirectory(prefix="kinstream-backpressure-") as name:
            folder = Path(name)
            bodies = write_bodies(folder / "bodies.ndjson", [size], own_ids=False)
            with (
                collectors.ours(folder, keep=True) as side,
                asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
            ):
                load = OpenLoop(
                    side.port,
                    Schedule(args.events_per_second / size, count),
                    requests_of(bodies, side.port, side.key, size),
                    Manner(args.connections, True, args.patience_seconds, _DRAIN_SECONDS),
                )
                course, arrived = runner.run(_run(Course(load), side, args, console))
    except MissingError as missing:
        print(f"it could not run: {missing}", file=sys.stderr)
        return 2
    worst = max(course.load.delays.values(), default=math.nan)
    console.print(
        f"A try waited {course.load.longest_answer_seconds:.1f} s for its answer at most; an event "
        f"{worst:.1f} s from when it was due until it was acknowledged."
    )
    return _judge(console, verdicts(_outage(course, arrived, size)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.backpressure",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    number = {"type": _positive, "metavar": "N"}
    parser.add_argument("--cut-seconds", default=30, help="how long SNS is away (30)", **number)
    parser.add_argument("--before-seconds", default=10, help="of load before that (10)", **number)
    parser.add_argument("--after-seconds", default=20, help="of load after that (20)", **number)
    parser.add_argument("--events-per-second", default=2_000, help="to send (2,000)", **number)
    parser.add_argument("--events-a-request", default=20, help="in each (20)", **number)
    parser.add_argument("--connections", default=1_000, help="at most (1,000)", **number)
    parser.add_argument(
        "--patience-seconds", default=15, help="after which a client sends again (15)", **number
    )
    return parser.parse_args()


def _positive(text: str) -> int:
    value = int(text)
    if not 1 <= value <= 100_000:
        raise argparse.ArgumentTypeError("a whole number from 1 to 100,000")
    return value


async def _run(
    course: Course, side: Side, args: argparse.Namespace, console: Console
) -> tuple[Course, dict[str, int]]:
    # No proxy that the environment may name: all of it is on this machine.
    async with (
        httpx.AsyncClient(trust_env=False, timeout=1.0) as http,
        _timeline(course, side, http, console),
    ):
        load = asyncio.create_task(course.load.run())
        await asyncio.sleep(args.before_seconds)
        await http.post(f"{side.aws}/_sns/cut")
        course.cut = course.load.now()
        await asyncio.sleep(args.cut_seconds)
        await http.post(f"{side.aws}/_sns/mend")
        course.mended = course.load.now()
        await load
        arrived: dict[str, int] = (await http.get(f"{side.aws}/_arrived", timeout=60.0)).json()
        return course, arrived


@asynccontextmanager
async def _timeline(
    course: Course, side: Side, http: httpx.AsyncClient, console: Console
) -> AsyncIterator[None]:
    """Prints a line for each second of the load, shortly after it."""

    async def watch() -> None:
        second = 0
        console.print(_LINE.format("s", "SNS", *_COLUMNS, "backlog", "MB"), style="bold")
        while True:
            await asyncio.sleep(max(0.0, second + 1 - course.load.now()))
            backlog = await _backlog(side, http)
            console.print(_line(course, second, backlog, side.process.memory_info().rss), highlight=False)
            second += 1

    task = asyncio.create_task(watch())
    try:
        yield
    finally:
        task.cancel()


async def _backlog(side: Side, http: httpx.AsyncClient) -> int | None:
    try:
        text = (await http.get(f"http://127.0.0.1:{side.port}/metrics")).text
    except httpx.HTTPError:
        return None
    lines = [line for line in text.splitlines() if line.startswith(_BACKLOG)]
    return int(float(lines[0].removeprefix(_BACKLOG))) if lines else None


def _outage(course: Course, arrived: dict[str, int], size: int) -> Outage:
    load = course.load
    due = {number: load.schedule.due_seconds(number) for number in range(load.schedule.count)}
    return Outage(
        events=load.schedule.count * size,
        acknowledged=len(load.delays) * size,
        arrived=arrived["distinct"],
        copies=arrived["events"] - arrived["distinct"],
        refusals=sum(second.refused for second in load.seconds),
        refusals_with_retry_after=sum(second.refused_with_retry_after for second in load.seconds),
        mended=course.mended,
        last_trouble=load.last_trouble,
        overdue_until=overdue_until(due, load.delays, course.mended),
    )


def _line(course: Course, second: int, backlog: int | None, resident_bytes: int) -> str:
    seconds = course.load.seconds
    counts = astuple(seconds[second]) if second < len(seconds) else [0] * len(_COLUMNS)
    away = course.cut < second + 0.5 < course.mended
    held = "?" if backlog is None else f"{backlog:,}"
    memory = f"{resident_bytes / 1e6:.0f}"
    return _LINE.format(second, "away" if away else "", *(f"{n:,}" for n in counts), held, memory)


def _judge(console: Console, found: list[Verdict]) -> int:
    for verdict in found:
        mark = "[green]yes[/]" if verdict.holds else "[red]NO[/] "
        console.print(f"{mark} {verdict.claim}: {verdict.counted}")
    return 0 if all(verdict.holds for verdict in found) else 1


if __name__ == "__main__":
    sys.exit(main())
