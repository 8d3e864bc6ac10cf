"""kinstream processors"""

from pathlib import Path

import click


@click.command(short_help="The event processors in the code, and the infrastructure's list of them.")
@click.option("--write", is_flag=True, help="Bring the generated file up to date with the code.")
@click.option("--check", is_flag=True, help="Fail where the generated file is out of step.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("infra/terraform/processors.json"),
    show_default=True,
    help="The generated file, from which Terraform makes queues.",
)
def processors(write: bool, check: bool, file: Path) -> None:
    """Show the event processors in the code, and keep the infrastructure's list of them in step.

    \b
    Examples:
      kinstream processors
      kinstream processors --write       after adding one
      kinstream processors --check       in CI
    """
    from kinstream_devkit.processors import check_file, processor_queues, write_file

    queues = processor_queues()
    if check:
        check_file(file, queues)
    if write:
        changed = write_file(file, queues)
        click.echo(f"{file} {'written' if changed else 'is up to date'}")
    if write or check:
        return

    from rich.console import Console
    from rich.table import Table

    table = Table("processor", "handles", "visibility", "attempts", box=None)
    for queue in queues:
        handles = "every event" if queue.handles is None else ", ".join(queue.handles)
        table.add_row(
            queue.name, handles, f"{queue.visibility_timeout_seconds} s", str(queue.max_receive_count)
        )
    Console(width=110).print(table)
