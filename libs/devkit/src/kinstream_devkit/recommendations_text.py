"""What `kinstream recs` tells, as lines for people."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kinstream.clock import now_ms
from kinstream.versions import serving
from kinstream_devkit.experiments import Comparison, difference
from kinstream_devkit.recommendations import Recommendations, Standing


def show_standing(standing: Standing) -> None:
    """What is served, what is asked for, and a table of runs."""
    versions = standing.versions
    served = versions.version(versions.run_id)
    kept = f", its lists are kept until {_time(served.kept_until_ms)} UTC" if served else ""
    click.echo(f"served      {versions.run_id or 'what is trending'}{kept}")
    earlier = [one.run_id for one in versions.good if one.run_id != versions.run_id]
    click.echo(f"before it   {', '.join(earlier) or '-'}")
    if versions.experiment:
        arms = ", ".join(f"{arm.serves} to {arm.share:.0%}" for arm in versions.experiment.arms)
        click.echo(f"experiment  {versions.experiment.name}: {arms}")
    if standing.requested_at_ms:
        click.echo(f"asked for   a run, {_time(standing.requested_at_ms)}")
    table = Table("run", "state", "launched", "took", "due", "served", "about", "cause", "why", box=None)
    for run in standing.runs:
        mark = {True: "yes", False: "no"}.get(run.get("published"), "-")  # type: ignore[arg-type]
        table.add_row(
            run["run_id"],
            run["state"],
            _time(run["launched_at_ms"]),
            _took(run),
            str(run.get("customers_due", "")),
            mark,
            _cost(run),
            run.get("cause") or "",
            # Words of a job or of AWS, which may hold brackets.
            escape(run.get("reason") or ""),
        )
    Console(width=160).print(table if standing.runs else "there was no run yet")
    for run in standing.runs:
        for line in _log_lines(run):
            click.echo(line)


def manifest_lines(manifest: Mapping[str, Any]) -> list[str]:
    """A run's figures, and the files that it refused."""
    lines = [
        f"  {name:<22} {value:,}"
        for part in ("metrics", "counts", "recommendations")
        for name, value in (manifest.get(part) or {}).items()
        if isinstance(value, int | float)
    ]
    return lines + [f"  refused: {file['file']}" for file in manifest.get("refused_files", [])]


def list_lines(desk: Recommendations, customer: str, run_id: str | None) -> list[str]:
    """A customer's list of a run, or the one that it is served."""
    served = serving(desk.versions(), customer, now_ms())
    runs: Sequence[str] = [run_id] if run_id else []
    if served.version and not runs:
        runs = [served.version.run_id, *served.stand_ins]
    row = next((row for row in (desk.list_of(customer, run) for run in runs) if row), None)
    if row is None:
        return ["no list: this customer is served what is trending"]
    lines = [f"list of run {row['run_id']}"]
    for place, item in enumerate(row["items"], 1):
        reason = f"because of {', '.join(item['because'])}" if item["because"] else ""
        lines.append(f"  {place:>3}  {item['content_id']:<30} {item['score']:>8.3f}  {reason}")
    return lines


def comparison_lines(found: Comparison, within: float) -> list[str]:
    """An experiment's arms, the others against the largest."""
    lines = [f"experiment {found.experiment}: customers who turned to what they were shown in {within:g} h"]
    usual = found.arms[0]
    for arm in found.arms:
        line = (
            f"  {arm.variant:<30} {arm.takers:,} of {arm.customers:,} ({arm.share:.1%}), {arm.likes:,} likes"
        )
        if arm is not usual:
            gap = difference(arm, usual)
            verdict = "a clear difference" if gap.is_clear else "may be chance"
            line += f"; {gap.points:+.1%} ({gap.low:+.1%} to {gap.high:+.1%}): {verdict}"
        lines.append(line)
    if len(found.arms) == 1:
        lines.append("  only one arm was shown to anybody yet: nothing to compare it with")
    return lines


def told(run: Mapping[str, Any]) -> str:
    """A run in a sentence, and where the log of one that failed lies."""
    served = {True: ", published", False: ", not published"}.get(run.get("published"), "")  # type: ignore[arg-type]
    cause = f" ({run['cause']})" if run.get("cause") else ""
    reason = f": {run['reason']}" if run.get("reason") else ""
    sentence = f"run {run['run_id']} {run['state']}{cause} after {_took(run)}{served}{reason}"
    return "\n".join([sentence, *_log_lines(run)])


def _log_lines(run: Mapping[str, Any]) -> list[str]:
    is_known = run["state"] == "failed" and run.get("log_uri")
    return [f"log of {run['run_id']}: {run['log_uri']}"] if is_known else []


def _cost(run: Mapping[str, Any]) -> str:
    usd = run.get("usd")
    return "-" if usd is None else f"${usd:.2f}"


def _took(run: Mapping[str, Any]) -> str:
    ended = run.get("ended_at_ms")
    return f"{(ended - run['launched_at_ms']) / 1000:.0f} s" if ended else "-"


def _time(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
