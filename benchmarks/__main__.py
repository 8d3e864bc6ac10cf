"""`python -m benchmarks [NAME...] [--quick] [--json FILE]`: measure, then print a Markdown table."""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

from rich.console import Console

from benchmarks import report
from benchmarks.runner import Bench, Result
from benchmarks.targets import DEFAULT, GROUPS, TARGETS

MODULES = {
    "ingest-50": "ingest",
    "ingest-1": "ingest",
    "ingest-fastapi": "ingest_fastapi",
    "ingest-p99": "ingest_p99",
    "ingest-memory": "ingest_memory",
    "ingest-emulator": "ingest_emulator",
    "fairness": "fairness",
    "session-read": "session_read",
    "worker": "worker",
    "write-units": "write_units",
    "growth": "growth",
    "video": "video",
    "remux": "video",
    "thumbnails": "thumbnails",
    "media-mix": "media_mix",
    "recommendations": "recommendations",
    "als-alone": "recommendations",
    "coverage": "recommendations",
    "leave-last-out": "recommendations",
    "training-growth": "training_growth",
    "training-due": "training_due",
    "recommendations-read": "recommendation_read",
    "cost": "cost",
}
_NOT_QUICK = ("recommendations",)


def main() -> int:
    """Exit code 0 whenever it could measure: a missed number is a result, not an error."""
    args = _arguments()
    console = Console(stderr=True)
    names = named(args.names) or [name for name in DEFAULT if not (args.quick and name in _NOT_QUICK)]
    on = report.machine()
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "kinstream-benchmarks"
    with (
        tempfile.TemporaryDirectory(prefix="kinstream-bench-") as folder,
        console.status("") as status,
    ):
        bench = Bench(
            quick=args.quick, folder=Path(folder), cache=cache, rows={name: _row(name) for name in TARGETS}
        )
        for number, name in enumerate(names, 1):
            heading = f"[bold]{name}[/] ({number} of {len(names)})"
            bench.say = lambda text, heading=heading: status.update(f"{heading}: {text}")  # type: ignore[misc]
            bench.say("starting")
            began = time.monotonic()
            result = bench.measure(name)
            _tell(console, name, result, time.monotonic() - began)
    results = {name: bench.results[name] for name in TARGETS if name in bench.results}
    print(report.markdown(results, on))
    skipped = [name for name in TARGETS if name not in results]
    if skipped:
        print(f"Not run: {', '.join(skipped)}. Name them to measure them too.")
    if args.json:
        args.json.write_text(json.dumps(report.as_json(results, on, quick=args.quick), indent=1) + "\n")
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    groups = "; ".join(f"{group} is {', '.join(rows)}" for group, rows in GROUPS.items())
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(TARGETS)}; {groups}; if none, {', '.join(DEFAULT)}",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, without the training: 3 minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    args = parser.parse_args()
    unknown = [name for name in args.names if name not in TARGETS and name not in GROUPS]
    if unknown:
        parser.error(f"there is no {', '.join(unknown)}; there are {', '.join((*TARGETS, *GROUPS))}")
    return args


def named(names: Sequence[str]) -> list[str]:
    """The rows that these names of rows and groups stand for, each once."""
    return list(dict.fromkeys(row for name in names for row in GROUPS.get(name, (name,))))


def _row(name: str) -> Callable[[Bench], Result]:
    # Imported when it is its turn: one row's libraries are no business of another's.
    def measure(bench: Bench) -> Result:
        result: Result = import_module(f"benchmarks.{MODULES[name]}").measure(bench, name)
        return result

    return measure


def _tell(console: Console, name: str, result: Result, seconds: float) -> None:
    mark = {True: "[green]ok[/]", False: "[red]missed[/]", None: "[yellow]not measured[/]"}[result.ok]
    console.print(f"{mark} [bold]{name}[/]: {result.measured} [dim]({seconds:.0f} s)[/]")


if __name__ == "__main__":
    sys.exit(main())
