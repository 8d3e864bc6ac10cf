"""kinstream deploy-local"""

import threading
import time
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

    from kinstream_devkit.deployment.emulator import Emulator
    from kinstream_devkit.deployment.run import Options

_INTERRUPTED = 130


@click.command(short_help="Deploy with Terraform to an emulator that runs real containers, check, destroy.")
@click.option("--prefix", default="kinstream-local", show_default=True, help="First part of every name.")
@click.option(
    "--customers", type=click.IntRange(min=16), default=60, show_default=True, help="Families in the demo."
)
@click.option("--build/--no-build", default=True, show_default=True, help="Make the images before.")
@click.option("--keep", is_flag=True, help="Once all is checked, keep it until Ctrl-C, and then destroy it.")
@click.option(
    "--emulator-only",
    is_flag=True,
    help="Start the emulator alone, until Ctrl-C, for docs/operations.md followed by hand.",
)
@click.option("--clean", is_flag=True, help="Only remove what a killed one left: containers, tags, folders.")
def deploy_local(
    *, prefix: str, customers: int, build: bool, keep: bool, emulator_only: bool, clean: bool
) -> None:
    """Apply infra/terraform/envs/dev to an emulator of AWS on this machine's Docker, check it, destroy it.

    The emulator starts the database, the cache and every service's tasks as containers, from Terraform's own
    task definitions, with their secrets, and enforces IAM: each task may do what its role says. Then: the
    one-off task that migrates the catalog, killed tasks that must be replaced, the demo through the load
    balancer with every result compared, a second plan that must be empty, and a destroy that must leave
    nothing.

    Left out is what the emulator has not: training (its EMR runs no job), autoscaling, TLS, sidecars. Needs
    Docker, Terraform and 6 GB of memory. Exits 0 if all is as it must be, 1 if not, 2 if it could not be
    tried, 130 if it was interrupted. Ctrl-C takes away all that was started.

    \b
    Examples:
      kinstream deploy-local
      kinstream deploy-local --no-build --customers 200
      kinstream deploy-local --keep             look around, then Ctrl-C
      kinstream deploy-local --emulator-only    deploy by hand, as docs/operations.md tells
      kinstream deploy-local --clean            after a kill -9
    """
    from kinstream_devkit.deployment.interruptions import end_by_signals
    from kinstream_devkit.deployment.run import Options

    end_by_signals()
    try:
        _run(Options(prefix, customers, build, keep), emulator_only=emulator_only, clean=clean)
    except KeyboardInterrupt:
        # Not 1, which says that something is not as it must be.
        raise SystemExit(_INTERRUPTED) from None


def _run(options: "Options", *, emulator_only: bool, clean: bool) -> None:
    from rich.console import Console

    from kinstream_devkit.deployment import emulator

    console = Console(width=None if Console().is_terminal else 120)
    if clean:
        console.print(f"removed {emulator.clean()} containers")
    elif emulator_only:
        _run_emulator(console, options)
    else:
        _deploy(console, options)


def _run_emulator(console: "Console", options: "Options") -> None:
    from kinstream_devkit.demo.show import Show
    from kinstream_devkit.deployment.run import running_emulator

    with Show(console) as show, running_emulator(options.build, show) as started:
        show.say(_told(started, options.prefix))
        threading.Event().wait()


def _deploy(console: "Console", options: "Options") -> None:
    from kinstream_devkit.demo.show import Show
    from kinstream_devkit.deployment.run import deploy

    begun = time.monotonic()
    with Show(console) as show:
        problems = deploy(options, show)
    _report(console, problems, time.monotonic() - begun)


def _told(started: "Emulator", prefix: str) -> str:
    lines = "\n".join(f"export {name}={value}" for name, value in started.exports(prefix).items())
    places = f'url = "{started.url}", seen_by_tasks = "{started.seen_by_tasks}"'
    return f"""
unset AWS_SESSION_TOKEN AWS_PROFILE
{lines}
export TF_VAR_emulator='{{{places}, checks_iam = true}}'

Say this in the shell where you follow docs/operations.md. Ctrl-C here takes away all that was started."""


def _report(console: "Console", problems: list[str], seconds: float) -> None:
    from kinstream_devkit.deployment.expected import seconds_in_words

    for problem in problems:
        console.print(f"[red]✗[/red] {problem}", soft_wrap=True, highlight=False)
    if problems:
        raise SystemExit(1)
    console.print(
        f"Deployed, migrated, sent, compared and destroyed in {seconds_in_words(seconds)}; nothing is left.",
        soft_wrap=True,
        highlight=False,
    )
