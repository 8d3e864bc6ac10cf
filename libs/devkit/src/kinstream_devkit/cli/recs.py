"""kinstream recs"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinstream.errors import PermanentError
from kinstream_devkit.cli._stack import app_option, data_dir_option, running_stack

if TYPE_CHECKING:
    from kinstream.versions import Arm
    from kinstream_devkit.recommendations import Recommendations

_POLL_SECONDS = 1.0
_NO_TRIGGER_SECONDS = 60.0
_MOST_LISTED = 20


@click.group(short_help="Recommendations: train, look, roll back, compare.")
def recs() -> None:
    """Recommendations of an app: train now, see how runs went, roll back, compare variants.

    \b
    Examples:
      kinstream recs status
      kinstream recs train
      kinstream recs show --report report.html
      kinstream recs rollback
    """


@recs.command()
@data_dir_option
@app_option
@click.option("--wait/--no-wait", default=True, show_default=True, help="Stay until the run has ended.")
def train(data_dir: Path, app: str, wait: bool) -> None:
    """Ask for a training run now, whoever is due, and follow it to its end.

    The recommender-trigger takes it up at its next look, if no run is under way. Exits 1 if the run fails.

    \b
    Examples:
      kinstream recs train
      kinstream recs train --app photos --no-wait
    """
    from kinstream.clock import now_ms
    from kinstream_devkit.recommendations_text import told

    desk = _desk(data_dir, app)
    before = {run["sk"] for run in desk.runs(_MOST_LISTED)}
    desk.request_training(now_ms())
    click.echo("asked for a run")
    if wait:
        run = _followed(desk, before)
        click.echo(told(run))
        if run["state"] == "failed":
            raise SystemExit(1)


@recs.command()
@data_dir_option
@app_option
@click.option("--runs", "most", type=click.IntRange(1, 200), default=10, show_default=True)
def status(data_dir: Path, app: str, most: int) -> None:
    """Show what is served, what is asked for, and the last runs.

    \b
    Examples:
      kinstream recs status
      kinstream recs status --app photos --runs 50
    """
    from kinstream_devkit.recommendations_text import show_standing

    show_standing(_desk(data_dir, app).standing(most))


@recs.command()
@data_dir_option
@app_option
@click.argument("run_id", required=False)
@click.option("--customer", help="Show the list of this customer instead.")
@click.option(
    "--report", type=click.Path(dir_okay=False, path_type=Path), help="Save the run's page with plots there."
)
def show(data_dir: Path, app: str, run_id: str | None, customer: str | None, report: Path | None) -> None:
    """Show a run's figures, the served one's if none is named, or a customer's list.

    \b
    Examples:
      kinstream recs show
      kinstream recs show 20261121T101112131Z-1a2b3c4d --report report.html
      kinstream recs show --customer fam-0001
    """
    from kinstream_devkit.recommendations_text import list_lines, manifest_lines, told

    desk = _desk(data_dir, app)
    if customer:
        for line in list_lines(desk, customer, run_id):
            click.echo(line)
        return
    if run_id is None:
        run_id = desk.versions().run_id or next((run["run_id"] for run in desk.runs(1)), None)
    if run_id is None:
        raise PermanentError("there was no run yet; `kinstream recs train` asks for one")
    click.echo(told(desk.run(run_id)))
    if report:
        report.write_bytes(desk.report(run_id))
        click.echo(f"its report is {report}")
        return
    manifest = desk.manifest(run_id)
    for line in manifest_lines(manifest):
        click.echo(line)


@recs.command()
@data_dir_option
@app_option
@click.option("--to", metavar="RUN", help="A run's id, or `trending`.  [default: the version before]")
def rollback(data_dir: Path, app: str, to: str | None) -> None:
    """Serve the version before again, at once: its lists are still there.

    What was rolled back is not published again. A later run that passes the gate is.

    \b
    Examples:
      kinstream recs rollback
      kinstream recs rollback --to 20261120T101112131Z-1a2b3c4d
      kinstream recs rollback --to trending
    """
    from kinstream.clock import now_ms

    desk = _desk(data_dir, app)
    before = desk.versions()
    after = desk.change(lambda versions: versions.rolled_back(now_ms(), to))
    click.echo(f"served now: {after.run_id or 'what is trending'}")
    if before.experiment and not after.experiment:
        click.echo(f"experiment {before.experiment.name} has ended: an arm of it was taken back")
    click.echo("the API may serve what was before for ten seconds more")


@recs.command()
@data_dir_option
@app_option
@click.argument("name", required=False)
@click.argument("arms", nargs=-1, metavar="[RUN=SHARE]...")
@click.option("--end", is_flag=True, help="End the experiment.")
def split(data_dir: Path, app: str, name: str | None, arms: tuple[str, ...], end: bool) -> None:
    """Serve some customers another version, or what is trending, to compare: an experiment.

    The rest is served what everybody was. A customer keeps its arm for as long as the name is the same.

    \b
    Examples:
      kinstream recs split holdout trending=10%
      kinstream recs split newer 20261120T101112131Z-1a2b3c4d=50%
      kinstream recs split --end
    """
    if end == bool(name) or bool(name) != bool(arms):
        raise click.UsageError("name the experiment and its arms (trending=10%), or give --end alone")
    from kinstream.clock import now_ms

    parsed = [_arm(text) for text in arms]
    after = _desk(data_dir, app).change(lambda versions: versions.split(name or "", parsed, now_ms()))
    click.echo(f"experiment {after.experiment.name} has begun" if after.experiment else "no experiment runs")


@recs.command()
@data_dir_option
@app_option
@click.option("--name", help="Of the experiment.  [default: the one that was shown last]")
@click.option(
    "--within", type=click.FloatRange(min=0.1), default=24.0, show_default=True, help="Hours after a list."
)
def evaluate(data_dir: Path, app: str, name: str | None, within: float) -> None:
    """Compare an experiment's arms from the archive: who turned to what they were shown.

    \b
    Examples:
      kinstream recs evaluate
      kinstream recs evaluate --name holdout --within 72
    """
    import tempfile

    from kinstream_devkit.audit.archived import ArchiveReader
    from kinstream_devkit.experiments import compare
    from kinstream_devkit.progress import Progress
    from kinstream_devkit.recommendations_text import comparison_lines

    stack = running_stack(data_dir)
    stack.require_app(app)
    bar = Progress("archive files")
    with tempfile.TemporaryDirectory(prefix="kinstream-recs-") as folder:
        reader = ArchiveReader(stack.client("s3"), stack.names, app, Path(folder), bar.at)
        files = reader.copies(reader.keys_by_date())
        bar.end()
        found = compare(files, name, within)
    if found is None:
        click.echo("nothing to compare: nobody has been shown anything in an experiment yet")
        return
    for line in comparison_lines(found, within):
        click.echo(line)


def _desk(data_dir: Path, app: str) -> "Recommendations":
    from kinstream_devkit.recommendations import Recommendations

    stack = running_stack(data_dir)
    stack.require_app(app)
    return Recommendations(stack.client("dynamodb"), stack.client("s3"), stack.names, app)


def _followed(desk: "Recommendations", before: set[str]) -> dict[str, Any]:
    """The run that began after those of before, once it has ended."""
    from kinstream_devkit.progress import Progress
    from kinstream_devkit.recommendations import ENDED

    bar, began, warned = Progress("training"), time.monotonic(), False
    while True:
        seconds = time.monotonic() - began
        run = next((run for run in desk.runs(_MOST_LISTED) if run["sk"] not in before), None)
        if run and run["state"] in ENDED:
            bar.end()
            return run
        bar.at_text(f"training: {run['state'] if run else 'waiting for the trigger'}, {seconds:.0f} s")
        if not run and not warned and seconds > _NO_TRIGGER_SECONDS:
            warned = True
            click.echo(
                "no recommender-trigger has taken it up yet; does it run? `kinstream logs` shows", err=True
            )
        time.sleep(_POLL_SECONDS)


def _arm(text: str) -> "Arm":
    from kinstream.versions import Arm

    serves, _, share = text.rpartition("=")
    try:
        number = float(share.removesuffix("%")) / (100 if share.endswith("%") else 1)
    except ValueError:
        number = -1.0
    if not serves or number < 0:
        raise click.UsageError(f"{text} is no arm; write, say, trending=10%")
    return Arm(serves, number)
