"""kinstream new-processor"""

from pathlib import Path

import click


@click.command(short_help="Write a new event processor and its test.")
@click.argument("name")
@click.option("--handles", multiple=True, metavar="TYPE...", help="Types of events that it handles.")
@click.argument("more_types", nargs=-1, metavar="")
@click.option(
    "--root",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    default=Path(),
    help="Kinstream's folder.  [default: this one]",
)
def new_processor(name: str, handles: tuple[str, ...], more_types: tuple[str, ...], root: Path) -> None:
    """Write a new event processor and its test, and give it a queue.

    The processor works at once: it counts its events by customer, exactly once. Make of it what you need,
    see docs/adding-a-processor.md. Nothing else has to be edited: the list from which the infrastructure's
    queues are made is brought up to date here, and `kinstream up` reads it from the code.

    \b
    Examples:
      kinstream new-processor screen-time --handles screen.used
      kinstream new-processor purchases --handles order.completed order.refunded
    """
    from kinstream_devkit.new_processor import plan, write
    from kinstream_devkit.processors import GENERATED_FILE, check_root, processor_queues, write_file
    from session_worker.processor import discover

    new = plan(name, [*handles, *more_types], [processor.example for processor in discover()])
    check_root(root)
    for path in write(root, new):
        click.echo(f"{path} written")
    write_file(root / GENERATED_FILE, processor_queues())
    click.echo(f"{GENERATED_FILE} written")
    test = next(path for path in new.files() if path.name.startswith("test_"))
    click.echo(f"next: pytest {test} tests/contract/test_processors.py", err=True)
