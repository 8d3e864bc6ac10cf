"""kinstream audit"""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinstream_devkit.cli._stack import RunningStack, data_dir_option, passing_key, running_stack

if TYPE_CHECKING:
    from kinstream_devkit.audit.run import Result
    from kinstream_devkit.progress import Progress

_DAY = click.DateTime(["%Y-%m-%d"])
_MOST_SHOWN = 50
_WIDTH = 140


@click.command(short_help="Recompute sessions and counters from the archive and compare with what is served.")
@data_dir_option
@click.option("--from", "from_date", type=_DAY, metavar="YYYY-MM-DD", help="First day, UTC.")
@click.option("--to", "to_date", type=_DAY, metavar="YYYY-MM-DD", help="Last day, UTC.")
@click.option("--app", help="Only this app.  [default: every app]")
@click.option(
    "--url", help="Of a deployment's API; its AWS resources are then found by KINSTREAM_... as services do."
)
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for messages under way.")
@click.pass_context
def audit(
    ctx: click.Context,
    *,
    data_dir: Path,
    from_date: datetime | None,
    to_date: datetime | None,
    app: str | None,
    url: str | None,
    wait: float,
) -> None:
    """Recompute sessions and counters from the archive, and compare them with what the API answers.

    Sessions that begin in the range are compared: start, end, events, activities, contents. Counters of
    customers and contents are totals since ever, so they are compared where the range has all that the
    archive holds of the customer or content; how many are left out is said. Without --from and --to the
    range is everything, and counters of whom the archive does not know are found too.

    The archive comes some seconds behind: the audit waits until the queues are empty, or says how many
    messages are under way. What differs is looked at twice before it is called drift.

    Exits 0 where all agrees, 1 on any drift.

    \b
    Examples:
      kinstream audit
      kinstream audit --from 2026-11-01 --to 2026-11-07 --app photos
      KINSTREAM_NAME_PREFIX=prod kinstream audit --url https://api.example.com
    """
    from kinstream_devkit.apps import Apps

    stack = running_stack(data_dir, url)
    if app:
        stack.require_app(app)
    apps = [app] if app else Apps(stack.client("dynamodb"), stack.names).app_names()
    drifts = 0
    for one in apps:
        result = _audit(stack, one, from_date, to_date, wait)
        _print(one, result)
        drifts += len(result.drifts)
    if not apps:
        click.echo("there is no app")
    ctx.exit(1 if drifts else 0)


def _audit(
    stack: RunningStack, app: str, from_date: datetime | None, to_date: datetime | None, wait_seconds: float
) -> "Result":
    import asyncio

    from kinstream.clock import now_ms
    from kinstream_devkit.audit.run import Sources, Span, Terms
    from kinstream_devkit.audit.run import audit as run_audit
    from kinstream_devkit.demo.client import DemoClient

    span = Span()
    span = Span(
        from_date.date() if from_date else span.first,
        to_date.date() if to_date else span.last,
    )
    teller = _Teller(app)
    terms = Terms(span, stack.settings.ledger_retention_seconds * 1000, wait_seconds, now_ms)
    with passing_key(stack, app, "secret") as key:
        sources = Sources(
            s3=stack.client("s3"),
            sqs=stack.client("sqs"),
            dynamodb=stack.client("dynamodb"),
            client=lambda: DemoClient(stack.url, "", key()),
            names=stack.names,
        )
        try:
            return asyncio.run(run_audit(app, sources, terms, teller))
        finally:
            teller.end()


class _Teller:
    """Progress of one thing after the other; what is done within two seconds is not told."""

    def __init__(self, app: str) -> None:
        self._app = app
        self._of: dict[str, Progress] = {}
        self._last: Progress | None = None

    def at(self, what: str, done: int, total: int) -> None:
        from kinstream_devkit.progress import Progress

        self._last = self._of.setdefault(what, Progress(f"{self._app}: {what}"))
        self._last.at(done, total)

    def end(self) -> None:
        if self._last:
            self._last.end()


def _print(app: str, result: "Result") -> None:
    from rich.console import Console
    from rich.table import Table

    if result.drifts:
        table = Table("kind", "customer or content", "what", "archive", "served", box=None)
        for drift in result.drifts[:_MOST_SHOWN]:
            values = [_text(drift.archived), _text(drift.served)]
            table.add_row(*map(_plain, (drift.kind, drift.subject, drift.what, *values)))
        Console(width=_WIDTH).print(table)
        if len(result.drifts) > _MOST_SHOWN:
            click.echo(f"... and {len(result.drifts) - _MOST_SHOWN:,} more")
    customers, contents = result.counters_of_customers, result.counters_of_contents
    click.echo(
        f"{app}: {result.events:,} events of {result.customers:,} customers; compared {result.sessions:,}"
        f" sessions, counters of {customers:,} customers and {contents:,} contents"
    )
    notes = {
        "customers: counters not compared, the archive holds events of theirs outside of the range": (
            result.partial_customers
        ),
        "contents: counters not compared, for the same reason": result.partial_contents,
        "sessions not compared: older than the ledger keeps": result.expired_sessions,
        "times two events with the same id and time: either may be the one that counted": result.ambiguous,
        "messages, or entries of the journal, are under way still: drift may be theirs": result.under_way,
    }
    for text, number in notes.items():
        if number:
            click.echo(f"{app}: {number:,} {text}")
    click.echo(f"{app}: {len(result.drifts):,} values drift" if result.drifts else f"{app}: no drift")


def _text(value: object) -> str:
    match value:
        case None:
            return "nothing"
        case list():
            return ", ".join(map(str, value)) or "none"
    return str(value)


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
