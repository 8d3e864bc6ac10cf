"""A plan in words."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from kinstream_devkit.plan.domain.deployment import API
from kinstream_devkit.plan.domain.outcome import LATE_SECONDS, Outcome, Service

_WIDTH = 110


def tell(outcomes: Sequence[Outcome], console: Console | None = None) -> None:
    """Print what becomes of each day, and what they cost."""
    console = console or Console(width=_WIDTH)
    for one in outcomes:
        console.print(
            f"[bold]{one.name}[/]: {one.events:,} events, at most {one.highest_events_a_second:,} a second"
        )
        console.print(_services(one))
        console.print(_tables(one))
        console.print()
    console.print(_costs(outcomes))
    if any(service.name == API and service.peak_backlog for one in outcomes for service in one.services):
        console.print(f"The backlog of {API} is events that are refused with 503 and wait at their senders.")


def clock(seconds: float) -> str:
    """HH:MM of seconds since midnight."""
    minutes = int(seconds // 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def duration(seconds: float) -> str:
    """As one says it."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7_200 else f"{seconds / 3_600:.1f} h"


def _services(one: Outcome) -> Table:
    late = f"older than {LATE_SECONDS:.0f} s"
    table = Table("service", "most waiting", "oldest", late, "most tasks", box=None, padding=(0, 2))
    for service in one.services:
        waiting = (
            f"{service.peak_backlog:,} at {clock(service.peak_at_seconds)}" if service.peak_backlog else "0"
        )
        tasks = f"{service.most_tasks} of {service.max_tasks}"
        table.add_row(service.name, waiting, duration(service.oldest_seconds), _late(service), tasks)
    return table


def _late(service: Service) -> str:
    if service.late_from_seconds is None:
        return "never"
    lasting, begin = duration(service.late_seconds), clock(service.late_from_seconds)
    if service.late_until_seconds is None:
        return f"{lasting}, {begin} to after midnight, {service.left:,} left"
    return f"{lasting}, {begin} to {clock(service.late_until_seconds)}"


def _tables(one: Outcome) -> Table:
    table = Table("table", "most write units a second", "takes", "refuses for", box=None, padding=(0, 2))
    for found in one.tables:
        grown = f", then {found.takes_at_last:,}" if found.takes_at_last > found.took_at_first else ""
        refuses = f"{found.refusing_minutes:,.0f} min" if found.refusing_minutes else "-"
        table.add_row(found.name, f"{found.highest:,}", f"{found.took_at_first:,}{grown}", refuses)
    return table


def _costs(outcomes: Sequence[Outcome]) -> Table:
    table = Table("dollars of the day", *(one.name for one in outcomes), box=None, padding=(0, 2))
    for column in table.columns[1:]:
        column.justify = "right"
    for charge in outcomes[0].dollars:
        table.add_row(charge, *(f"{one.dollars[charge]:,.2f}" for one in outcomes))
    table.add_row("together", *(f"{one.total_dollars:,.2f}" for one in outcomes), style="bold")
    return table
