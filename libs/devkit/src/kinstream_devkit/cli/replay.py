"""kinstream replay"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinstream_devkit.cli._stack import data_dir_option, running_stack

if TYPE_CHECKING:
    from kinstream_devkit.replay import Report

_date = click.DateTime(["%Y-%m-%d"])


@click.command(short_help="Run a processor over the archive, each event exactly once.")
@click.argument("processor")
@click.option("--from", "first", type=_date, required=True, help="First day of occurrence, in UTC.")
@click.option("--to", "last", type=_date, required=True, help="Last day, included.")
@click.option("--app", help="Only this app's events.  [default: every app's]")
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    default=2_000,
    show_default=True,
    help="At most so many events a second.",
)
@data_dir_option
def replay(
    *, processor: str, first: datetime, last: datetime, app: str | None, rate: float, data_dir: Path
) -> None:
    """Run a processor over the archive: one that is newer than the events, or one that was mended.

    Archived events go into this processor's queue alone, no faster than --rate and no faster than the
    worker takes them. What it has counted already it knows by its ledger, so each event counts exactly once,
    however often you run this. A run that was cut short goes on where it stopped when the same command is
    given again. What is older than the ledger remembers is refused.

    \b
    Examples:
      kinstream replay screen-time --from 2026-11-01 --to 2026-11-20
      kinstream replay content --from 2026-11-20 --to 2026-11-20 --app photos --rate 500
    """
    from kinstream.clock import now_ms
    from kinstream_devkit.progress import Progress, bar_of
    from kinstream_devkit.replay import Archive, Replay, ReplayLog, Report, Span, check_span, reducer_named
    from kinstream_devkit.replay_queue import Pace, ReplayQueue
    from session_worker.processor import discover

    chosen = reducer_named(processor, discover())
    span = Span(processor, first.date(), last.date(), app)
    stack = running_stack(data_dir)
    check_span(span, stack.settings.ledger_retention_seconds, now_ms())
    if app is not None:
        stack.require_app(app)
    bar = Progress(f"replay of {processor}")

    def progress(done: int, total: int, report: Report) -> None:
        bar.at_text(
            f"replay of {processor} {bar_of(done, total)} {done:,} of {total:,} files, "
            f"{report.events:,} events"
        )

    queue = ReplayQueue(stack.client("sqs"), stack.names, processor, Pace(rate), bar.at_text)
    put_aside_before = queue.put_aside()
    archive = Archive(stack.client("s3"), stack.names)
    log = ReplayLog(stack.data.root / "replays", span)
    report = Replay(archive, log, chosen.takes, queue.send).run(span, progress)
    counted = queue.wait_until_empty()
    bar.end()
    _print(report, counted=counted, put_aside=queue.put_aside() - put_aside_before)


def _print(report: "Report", *, counted: bool, put_aside: int) -> None:
    click.echo(f"{report.events:,} events of {report.files:,} files sent to the processor")
    if report.done_before:
        click.echo(f"{report.done_before:,} files were sent by an earlier run that was cut short")
    if counted:
        click.echo("all of them are counted; those that were counted before were not counted again")
    else:
        click.echo("the queue is not empty yet: the worker goes on counting")
    if put_aside > 0:
        click.echo(f"{put_aside:,} messages are in the dead-letter queue, each with its reason")
