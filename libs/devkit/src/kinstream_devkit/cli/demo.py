"""kinstream demo"""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from kinstream.errors import PermanentError

if TYPE_CHECKING:
    from kinstream_devkit.demo.run import Target

_EVENT_SUFFIXES = {".json", ".ndjson", ".jsonl", ".gz"}
_INTERRUPTED = 130
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command(short_help="Send real data through all of it and compare every result.")
@click.option(
    "--events", multiple=True, type=_FILE, help="Your own events: native, NDJSON or an array, or .gz."
)
@click.option("--media", multiple=True, type=_FILE, help="Your own videos and photos. May be repeated.")
@click.argument("files", nargs=-1, type=_FILE)
@click.option("--seed", default=7, show_default=True, help="Of the generated world.")
@click.option(
    "--customers", type=click.IntRange(min=16), default=500, show_default=True, help="Families in that world."
)
@click.option("--url", help="Use a stack that runs already, with its two keys, instead of an own one.")
@click.option("--write-key", help="Of the app at --url.")
@click.option("--secret-key", help="Of the app at --url.")
@click.option("--compose", is_flag=True, help="Use the stack that `docker compose up` runs here.")
@click.option("--keep", is_flag=True, help="Keep what the demo's own stack stored, and say where.")
@click.option(
    "--report",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path(".kinstream/demo/report.html"),
    show_default=True,
    help="Where the page with the pictures goes.",
)
def demo(
    *,
    events: tuple[Path, ...],
    media: tuple[Path, ...],
    files: tuple[Path, ...],
    seed: int,
    customers: int,
    url: str | None,
    write_key: str | None,
    secret_key: str | None,
    compose: bool,
    keep: bool,
    report: Path,
) -> None:
    """Send real data through all of Kinstream, and compare every result with a plain reference.

    Starts a stack of its own in a temporary folder and sends it a generated world: families with sessions,
    likes, late and repeated events, children on their way, a phone video and photos. Waits for a training
    run, compares, prints a report, and writes it as a page. Exits 0 if all agrees, 1 if anything differs.

    FILES, or --events and --media, are sent instead of the generated world.

    \b
    Examples:
      kinstream demo
      kinstream demo --customers 100 --seed 3
      kinstream demo --events history.ndjson.gz --media birthday.3gp beach.jpg
      kinstream demo --compose
      kinstream demo --url http://127.0.0.1:8080 --write-key kw_... --secret-key ks_...
    """
    signal.signal(signal.SIGTERM, _interrupt)

    from rich.console import Console

    from kinstream_devkit.demo.run import DemoOptions, run_demo
    from kinstream_devkit.demo.show import Show
    from kinstream_devkit.report.page import write_page
    from kinstream_devkit.report.terminal import print_report

    options = DemoOptions(
        seed=seed,
        customers=customers,
        events=(*events, *_like_events(files)),
        media=(*media, *(path for path in files if path not in _like_events(files))),
        target=_of_compose() if compose else _target(url, write_key, secret_key),
        keep=keep,
    )
    console = Console(width=None if Console().is_terminal else 120)
    try:
        with Show(console) as show:
            findings = run_demo(options, show)
    except KeyboardInterrupt:
        # Not 1, which says that results differ.
        raise SystemExit(_INTERRUPTED) from None
    write_page(findings, report)
    print_report(console, findings, report)
    raise SystemExit(1 if findings.differing else 0)


def _like_events(files: Sequence[Path]) -> list[Path]:
    return [path for path in files if path.suffix.lower() in _EVENT_SUFFIXES]


def _target(url: str | None, write_key: str | None, secret_key: str | None) -> "Target | None":
    from kinstream_devkit.demo.run import Target

    if not url and not write_key and not secret_key:
        return None
    if not (url and write_key and secret_key):
        raise click.UsageError(
            "--url, --write-key and --secret-key belong together; `kinstream up` prints them"
        )
    return Target(url, write_key, secret_key)


def _of_compose() -> "Target":
    from kinstream_devkit.demo.run import Target

    command = ["docker", "compose", "run", "--rm", "-T", "setup", "setup", "--json"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise PermanentError(
            "docker is not installed; `kinstream demo` without --compose needs none"
        ) from error
    if asked.returncode:
        raise PermanentError(
            f"`{' '.join(command)}` failed; has `docker compose up` run here?\n{asked.stderr}"
        )
    address = json.loads(asked.stdout.splitlines()[-1])
    return Target(address["url"], address["write_key"], address["secret_key"])


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    # As Ctrl-C does: whatever was started is stopped on the way out.
    raise KeyboardInterrupt
