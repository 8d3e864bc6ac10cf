"""kinstream quarantine"""

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from kinstream_devkit.cli._stack import data_dir_option, running_stack

if TYPE_CHECKING:
    from kinstream_devkit.quarantine import Entry, QuarantineStore, Selection, StoredObject

_Command = TypeVar("_Command", bound=Callable[..., None])
_DAY = click.DateTime(["%Y-%m-%d"])


def selection_options(command: _Command) -> _Command:
    """Options by which events are chosen; they arrive as `reason`, `from_date` and `to_date`."""
    for option in (
        click.option("--to", "to_date", type=_DAY, metavar="YYYY-MM-DD", help="Last day of arrival, UTC."),
        click.option(
            "--from", "from_date", type=_DAY, metavar="YYYY-MM-DD", help="First day of arrival, UTC."
        ),
        click.option("--reason", help="Only with this reason, such as missing_field."),
    ):
        command = option(command)
    return command


def selection_of(
    app: str | None, reason: str | None, from_date: datetime | None, to_date: datetime | None
) -> "Selection":
    """What these options choose."""
    from kinstream_devkit.quarantine import Selection

    return Selection(app, reason, _day(from_date), _day(to_date))


@click.group(short_help="Events that were not counted, and why.")
def quarantine() -> None:
    """Events that were not counted, and why. Nothing is lost: `kinstream recover` brings them back.

    \b
    Examples:
      kinstream quarantine list
      kinstream quarantine show --reason missing_field
      kinstream recover --reason missing_field --rename costumer_id=customer_id
    """


@quarantine.command("list")
@data_dir_option
@click.option("--app", help="Only of this app.  [default: every app]")
@selection_options
def list_events(
    *,
    data_dir: Path,
    app: str | None,
    reason: str | None,
    from_date: datetime | None,
    to_date: datetime | None,
) -> None:
    """Count them by day of arrival, app and reason, the newest day first.

    \b
    Examples:
      kinstream quarantine list
      kinstream quarantine list --app photos --from 2026-11-01 --to 2026-11-30
      kinstream quarantine list --reason schema_violation
    """
    from rich.console import Console
    from rich.table import Table

    from kinstream_devkit.quarantine import summarize

    selection = selection_of(app, reason, from_date, to_date)
    store = _store(data_dir)
    found = _entries(store, store.objects(selection), selection)
    summaries = summarize((stored.date, entry) for stored, entry in found)
    if not summaries:
        click.echo("nothing is in quarantine")
        return
    table = Table("date", "app", "reason", "events", "newest", box=None)
    for one in summaries:
        table.add_row(one.date, one.app, one.reason, f"{one.events:,}", one.newest)
    console = Console(width=110)
    console.print(table)
    console.print(f"{sum(one.events for one in summaries):,} events", highlight=False)


@quarantine.command()
@data_dir_option
@click.option("--app", help="Only of this app.  [default: every app]")
@selection_options
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="At most so many.")
@click.option("--json", "as_json", is_flag=True, help="One line of JSON an event, as it is stored.")
def show(
    *,
    data_dir: Path,
    app: str | None,
    reason: str | None,
    from_date: datetime | None,
    to_date: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """Show them with reason and detail, the newest day first.

    \b
    Examples:
      kinstream quarantine show --limit 3
      kinstream quarantine show --app photos --reason invalid_field
      kinstream quarantine show --json --limit 100000 > quarantined.ndjson
    """
    import msgspec

    selection = selection_of(app, reason, from_date, to_date)
    store = _store(data_dir)
    objects = store.objects(selection)
    shown = 0
    for _, entry in _entries(store, objects, selection):
        click.echo(msgspec.json.encode(entry) if as_json else _readable(entry))
        shown += 1
        if shown == limit:
            break
    if not as_json:
        click.echo(f"{shown} shown; --limit shows more" if shown == limit else f"{shown} shown", err=True)


def _entries(
    store: "QuarantineStore", objects: "list[StoredObject]", selection: "Selection"
) -> "Iterator[tuple[StoredObject, Entry]]":
    from kinstream_devkit.progress import Progress
    from kinstream_devkit.quarantine import entry_of

    progress = Progress("requests with events in quarantine read")
    for done, (stored, lines) in enumerate(store.read_all(objects)):
        progress.at(done, len(objects))
        entries = [entry_of(line) for line in lines]
        yield from ((stored, entry) for entry in entries if selection.has(entry))
    progress.end()


def _readable(entry: "Entry") -> str:
    import msgspec

    raw = bytes(entry.event)
    match raw[:1]:
        case b"{" | b"[":
            event = msgspec.json.format(raw, indent=2).decode()
        case b"n":
            event = "(not kept: the app's privacy switches)"
        case _:
            event = str(entry.value)
    first = f" (at first: {entry.first_reason})" if entry.first_reason else ""
    head = f"{entry.received_at}  {entry.app}  {entry.reason}{first}\n{entry.detail}"
    return f"{head}\n{_indented(event)}\n"


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines())


def _store(data_dir: Path) -> "QuarantineStore":
    from kinstream_devkit.quarantine import QuarantineStore

    stack = running_stack(data_dir)
    return QuarantineStore(stack.client("s3"), stack.names)


def _day(moment: datetime | None) -> str | None:
    return None if moment is None else moment.date().isoformat()
