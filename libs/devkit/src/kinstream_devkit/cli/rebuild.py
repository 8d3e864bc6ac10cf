"""kinstream rebuild"""

from dataclasses import replace
from pathlib import Path

import click

from kinstream_devkit.cli._stack import data_dir_option, running_stack


@click.command(short_help="Count a processor anew from the archive, then switch over.")
@click.argument("processor")
@click.option(
    "--rate",
    type=click.FloatRange(min=1),
    default=2_000,
    show_default=True,
    help="At most so many events of the archive a second.",
)
@click.option(
    "--archive-lag-seconds",
    type=click.FloatRange(min=0),
    default=600,
    show_default=True,
    help="How far behind the archive may be; waited for unless its queue is empty before.",
)
@data_dir_option
def rebuild(*, processor: str, rate: float, archive_lag_seconds: float, data_dir: Path) -> None:
    """Count all that was ever archived with the processor as it is now, beside the results that are served.

    For one that counted wrongly and was mended. What comes meanwhile is counted for both. When the new
    generation has everything, it is served in place of the old one, and the old one is written no more.
    A rebuild that was cut short goes on where it stopped when the same command is given again.

    \b
    Examples:
      kinstream rebuild content
      kinstream rebuild screen-time --rate 500
    """
    from kinstream_devkit.progress import Progress, bar_of
    from kinstream_devkit.rebuild import QUIET_ON_AWS_SECONDS, Rebuild, Terms
    from kinstream_devkit.replay import Report, rebuildable_named
    from session_worker.processor import discover

    chosen = rebuildable_named(processor, discover())
    stack = running_stack(data_dir)
    bar = Progress(f"rebuild of {processor}")

    def progress(done: int, total: int, report: Report) -> None:
        bar.at_text(
            f"rebuild of {processor} {bar_of(done, total)} {done:,} of {total:,} files, "
            f"{report.events:,} events"
        )

    clients = {name: stack.client(name) for name in ("dynamodb", "sqs", "sns", "s3")}
    folder = stack.data.root / "replays"
    terms = Terms(rate, archive_lag_seconds)
    if stack.settings.aws_endpoint_url is None:
        terms = replace(terms, quiet_seconds=QUIET_ON_AWS_SECONDS)
    one = Rebuild(
        clients,
        stack.names,
        chosen,
        folder=folder,
        terms=terms,
        say=bar.at_text,
        progress=progress,
    )
    report = one.run()
    bar.end()
    click.echo(f"{report.events:,} events of {report.files:,} files were counted anew")
    click.echo("the new generation is served")
    if report.put_aside:
        queue = f"{stack.names.rebuild_queue(processor)}-dlq"
        click.echo(f"{report.put_aside:,} messages are in {queue}, each with its reason")
