"""kinstream recover"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinstream_devkit.cli._stack import app_option, data_dir_option, passing_key, running_stack
from kinstream_devkit.cli.quarantine import selection_of, selection_options

if TYPE_CHECKING:
    from kinstream_devkit.recovery import Report

_MOST_PROBLEMS = 5


@click.command(short_help="Mend events that were not counted, and send them again.")
@data_dir_option
@app_option
@selection_options
@click.option("--rename", multiple=True, metavar="OLD=NEW", help="Move a field, by dotted path.")
@click.option("--drop", multiple=True, metavar="PATH", help="Take a field away.")
@click.option(
    "--set", "set_", multiple=True, metavar="PATH=VALUE", help="Set a field. VALUE is JSON or text."
)
@click.option("--python", "expression", metavar="EXPR", help="Its value is the mended event.")
@click.option("--write-key", help="The key to send with.  [default: one made for this run]")
@click.option("--dry-run", is_flag=True, help="Say what would be done. Nothing is sent or written.")
def recover(
    *,
    data_dir: Path,
    app: str,
    reason: str | None,
    from_date: datetime | None,
    to_date: datetime | None,
    rename: tuple[str, ...],
    drop: tuple[str, ...],
    set_: tuple[str, ...],
    expression: str | None,
    write_key: str | None,
    dry_run: bool,
) -> None:
    """Mend events that were not counted, and send them again.

    Each event goes through --rename, --drop, --set and --python, in this order; without any of them it is
    sent as it is, say after a schema was changed. An event that is in order then is sent through the API
    and moves to recovered/ in the quarantine's bucket once that has taken it. One that is not stays, as it
    came, with the reason it has now. Run it again whenever you like: nothing is recovered twice, and a run
    that was cut short goes on.

    The expression of --python sees `event` (a dict, or the text of what is no JSON), `reason`, `detail`,
    `received_at`, `app`, and the modules json, re, datetime and uuid. Its value is the mended event, or None
    to leave the event where it is. It is run in this process with all that Python may do: run only what
    you would run as a program. Keep id and occurred_at as they are, where there are any, and give the same
    for the same event: by the two an event counts once.

    What came too late or from the future was archived when it came, and is left alone unless its
    occurred_at is mended.

    \b
    Examples:
      kinstream recover --dry-run
      kinstream recover --reason unknown_field --rename costumer_id=customer_id
      kinstream recover --reason missing_field --set data.content_id=story-7
      kinstream recover --reason invalid_field --python 'event | {"type": event["type"].lower()}'
      kinstream recover --reason invalid_json --python 'json.loads(event + "}")'
    """
    from kinstream.clock import now_ms
    from kinstream_devkit.app_rules import RuleBook
    from kinstream_devkit.mending import Mend, drop_step, rename_step, set_step
    from kinstream_devkit.progress import Progress
    from kinstream_devkit.quarantine import QuarantineStore
    from kinstream_devkit.recovery import Planner, Recovery
    from kinstream_devkit.resending import Resender

    steps = [*map(rename_step, rename), *map(drop_step, drop), *map(set_step, set_)]
    mend = Mend(steps, expression)
    selection = selection_of(app, reason, from_date, to_date)
    stack = running_stack(data_dir)
    stack.require_app(app)
    rules = RuleBook(stack.client("dynamodb"), stack.names).compiled(app)
    store = QuarantineStore(stack.client("s3"), stack.names)
    progress = Progress("requests with events in quarantine gone through")
    with (
        passing_key(stack, app, "write", write_key) as key,
        Resender(stack.url, key, progress.say) as resender,
    ):
        recovery = Recovery(store, Planner(selection, mend, rules), resender.send, now_ms)
        report = recovery.run(selection, dry_run=dry_run, progress=progress.at)
    progress.end()
    _print(report, dry_run)


def _print(report: "Report", dry_run: bool) -> None:
    sent = "would be sent" if dry_run else "recovered: sent again and counted"
    refused = "refused by the API: in quarantine again, with the new reason"
    rows = [
        (report.recovered, sent, {}),
        (report.already_recovered, "recovered by an earlier run that was cut short", {}),
        (sum(report.refused_again.values()), refused, report.refused_again),
        (sum(report.still_bad.values()), "still not in order: they stay", report.still_bad),
        (sum(report.unmendable.values()), "could not be mended: they stay", report.unmendable),
        (report.skipped, "left where they are by --python", {}),
        (report.archived, "archived already: they count only with another occurred_at", {}),
        (report.not_kept, "not kept: the app's privacy switches left nothing to send", {}),
    ]
    if not any(count for count, _, _ in rows):
        click.echo("nothing to recover")
    for count, text, reasons in rows:
        if count:
            click.echo(f"{count:>9,}  {text}")
        for reason, number in sorted(reasons.items(), key=lambda one: -one[1])[:_MOST_PROBLEMS]:
            click.echo(f"{'':>9}  {number:,} x {reason}")
