"""kinstream counter"""

from pathlib import Path

import click

from kinstream_devkit.cli._stack import app_option, data_dir_option, running_stack


@click.command(short_help="Read a counter of any processor.")
@click.argument("name", nargs=-1, required=True)
@app_option
@data_dir_option
def counter(name: tuple[str, ...], app: str, data_dir: Path) -> None:
    """Read a counter, by the parts of its name as the processor's `Increment` gives them.

    Prints its amounts as JSON, {} where nothing was counted. Amounts of a counter that is spread over slots
    are summed.

    \b
    Examples:
      kinstream counter customer fam-1
      kinstream counter content story-7
      kinstream counter screen-time fam-1 mia 2026-11-20
    """
    import msgspec

    from kinstream_devkit.counters import read_counter

    stack = running_stack(data_dir)
    stack.require_app(app)
    amounts = read_counter(stack.client("dynamodb"), stack.names, app, name)
    click.echo(msgspec.json.encode(amounts, order="sorted"))
