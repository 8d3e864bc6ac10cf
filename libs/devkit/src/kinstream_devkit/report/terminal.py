"""The report in the terminal."""

from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from kinstream_devkit.demo.findings import Comparison, Findings, MediaResult
from kinstream_devkit.generate.families import title_of
from kinstream_devkit.media_words import size_text
from kinstream_devkit.report.timeline import Bar, bars_of, colors_of

_MOST_DIFFERENCES = 12
_BAR_CELLS = 34
_MOST_LISTS = 4


def print_report(console: Console, findings: Findings, page: Path) -> None:
    """Everything worth knowing of a run, and where the page with the pictures is."""
    for part in _parts(findings):
        console.print(part)
        console.print()
    console.print(_verdict(findings))
    console.print(f"The same with pictures: [bold]{page}[/bold]", soft_wrap=True)


def _parts(findings: Findings) -> Iterable[RenderableType]:
    yield _sent(findings)
    yield _comparisons(findings.comparisons)
    if findings.sessions:
        yield _timeline(findings)
    if findings.alerts:
        yield _alerts(findings)
    if findings.recommendations.source:
        yield _recommendations(findings)
    if findings.media:
        yield _media(findings.media)
    if findings.differing:
        yield _differences(findings.comparisons)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, title_justify="left", title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right")
    return table


def _sent(findings: Findings) -> RenderableType:
    sent = findings.sent
    lines = [
        f"[bold]{sent.events_a_second:,.0f} events/s[/bold] acknowledged as durable: "
        f"{len(sent.deliveries):,} in {sent.requests:,} requests and {sent.seconds:.1f} s",
        f"{findings.distinct_events:,} distinct events of {findings.customers:,} customers; "
        f"{findings.duplicates:,} sent twice, {findings.late:,} sent late, {len(sent.rejections)} rejected",
    ]
    if sent.retries:
        retries = ", ".join(f"{kind} x {count}" for kind, count in sent.retries.items())
        lines.append(f"sent again after: {retries}")
    lines.append(" · ".join(f"{stage} {seconds:.1f} s" for stage, seconds in findings.timings.items()))
    return Panel("\n".join(lines), title=f"Kinstream demo · {findings.source}", title_align="left")


def _comparisons(comparisons: list[Comparison]) -> Table:
    table = _table("Compared with the plain reference", "what", "expected", "agreed", "differing", "")
    for comparison in comparisons:
        good = not comparison.differences
        table.add_row(
            comparison.what,
            f"{comparison.expected:,}",
            f"{comparison.agreed:,}",
            f"{len(comparison.differences):,}",
            "[green]✓[/green]" if good else "[red]✗[/red]",
        )
    return table


def _timeline(findings: Findings) -> RenderableType:
    bars = bars_of(findings.sessions)
    longest = max(bar.minutes for bar in bars) or 1.0
    table = _table(f"Sessions of {findings.showcase}", "day", "when", "device", "", "minutes", "events")
    table.columns[3].justify = "left"
    for bar in bars:
        drawn = _drawn(bar, longest)
        table.add_row(bar.day, bar.clock, bar.device, drawn, f"{bar.minutes:.0f}", str(bar.events))
    legend = Text("  ")
    for name, color in colors_of(sorted(findings.sessions, key=lambda s: s.started_at)).items():
        legend.append("██ ", style=color).append(f"{name}   ")
    return Group(table, legend)


def _drawn(bar: Bar, longest_minutes: float) -> Text:
    cells = max(1, round(_BAR_CELLS * bar.minutes / longest_minutes))
    text, drawn, share = Text(), 0, 0.0
    for segment in bar.segments:
        share += segment.share
        until = round(cells * share)
        text.append("█" * (until - drawn), style=segment.color)
        drawn = until
    return text


def _alerts(findings: Findings) -> Table:
    table = _table("Who was somewhere unknown", "family", "who", "raised", "resolved", "after", "where")
    table.columns[1].justify = "left"
    for customer, alerts in findings.alerts.items():
        for alert in alerts:
            table.add_row(
                customer,
                findings.people.get((customer, alert.person_id), alert.person_id),
                f"{alert.raised_at:%a %H:%M:%S}",
                f"{alert.resolved_at:%H:%M:%S}" if alert.resolved_at else "[yellow]not yet[/yellow]",
                f"{(alert.resolved_at - alert.raised_at).seconds // 60} min" if alert.resolved_at else "",
                f"{alert.latitude:.4f}, {alert.longitude:.4f}",
            )
    return table


def _recommendations(findings: Findings) -> RenderableType:
    recommendations = findings.recommendations
    after = f", {recommendations.seconds:.0f} s after the events" if recommendations.source == "model" else ""
    title = f"Recommended by {recommendations.source}{after}"
    if not any(recommendations.lists.values()):
        return Text(f"No recommendations: {recommendations.note}", style="yellow")
    table = _table(title, "family", "what", "because of")
    table.columns[1].justify = table.columns[2].justify = "left"
    for customer in list(recommendations.lists)[:_MOST_LISTS]:
        for index, item in enumerate(recommendations.lists[customer]):
            because = ", ".join(map(title_of, item.because[:2]))
            table.add_row(customer if index == 0 else "", title_of(item.content_id), because)
        table.add_section()
    note = Text(f"  {recommendations.note}", style="yellow") if recommendations.note else Text()
    return Group(table, note)


def _media(results: list[MediaResult]) -> Table:
    table = _table("Media", "file", "in", "what came out", "size", "bytes", "")
    table.columns[2].justify = "left"
    for result in results:
        mark = "[green]✓[/green]" if not result.problems else "[red]✗[/red]"
        size_in = size_text(result.bytes_in)
        if not result.renditions:
            table.add_row(result.name, size_in, f"{result.state} {result.reason or ''}", "", "", mark)
        for index, rendition in enumerate(result.renditions):
            size = f"{rendition.width} x {rendition.height}" if rendition.width else ""
            first = (result.name, size_in, mark) if index == 0 else ("", "", "")
            came_out = f"{rendition.name} ({rendition.content_type})"
            table.add_row(first[0], first[1], came_out, size, size_text(rendition.size_bytes), first[2])
    return table


def _differences(comparisons: list[Comparison]) -> Table:
    table = _table("What differs", "what", "which", "expected", "found")
    for column in table.columns:
        column.justify, column.overflow = "left", "fold"
    for comparison in comparisons:
        for difference in comparison.differences[:_MOST_DIFFERENCES]:
            expected, found = Text(str(difference.expected)), Text(str(difference.found))
            table.add_row(comparison.what, Text(difference.key), expected, found)
        if (more := len(comparison.differences) - _MOST_DIFFERENCES) > 0:
            table.add_row(comparison.what, f"and {more:,} more", "", "")
    return table


def _verdict(findings: Findings) -> Text:
    compared = sum(comparison.expected for comparison in findings.comparisons)
    if findings.differing:
        return Text(f"{findings.differing:,} of {compared:,} results differ.", style="bold red")
    return Text(f"All {compared:,} results agree with the reference.", style="bold green")
