"""kinstream schemas"""

from pathlib import Path

import click

from kinstream_devkit.cli._stack import app_option, data_dir_option, rule_book

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True)


@click.group(short_help="JSON Schemas that an app's events must satisfy.")
def schemas() -> None:
    """JSON Schemas (draft 2020-12) that the `data` of an app's events must satisfy, a type each.

    A type without a schema takes any data: that is how every app begins. An event that violates its schema
    goes to the quarantine with the reason schema_violation. A change counts within ten seconds.

    \b
    Examples:
      kinstream schemas put order.paid order-paid.schema.json
      kinstream schemas list
      kinstream quarantine list --reason schema_violation
    """


@schemas.command()
@data_dir_option
@app_option
@click.argument("event_type", metavar="TYPE")
@click.argument("file", type=_FILE)
def put(data_dir: Path, app: str, event_type: str, file: Path) -> None:
    """Lay down the schema of an event type, in place of the one before. FILE may be - for stdin.

    At most 64 KiB, and 200 types an app. $ref leads to parts of the schema itself only, and patterns have
    no look-around and no \\1.

    \b
    Examples:
      kinstream schemas put order.paid order-paid.schema.json
      echo '{"required": ["total"]}' | kinstream schemas put --app photos order.paid -
    """
    version = rule_book(data_dir, app).put_schema(app, event_type, _read(file))
    click.echo(f"{event_type} of app {app} has a schema now, version {version[:8]}")


@schemas.command("list")
@data_dir_option
@app_option
def list_schemas(data_dir: Path, app: str) -> None:
    """Show which event types have a schema, and its version.

    \b
    Examples:
      kinstream schemas list
      kinstream schemas list --app photos
    """
    found = rule_book(data_dir, app).rules_of(app).schemas
    if not found:
        click.echo(f"app {app} has no schemas: events of every type are taken with any data")
    for event_type, version in sorted(found.items()):
        click.echo(f"{event_type:<64}  {version[:8]}")


@schemas.command()
@data_dir_option
@app_option
@click.argument("event_type", metavar="TYPE")
def show(data_dir: Path, app: str, event_type: str) -> None:
    """Print the schema of an event type as it was laid down.

    \b
    Examples:
      kinstream schemas show order.paid
      kinstream schemas show --app photos order.paid > order-paid.schema.json
    """
    click.echo(rule_book(data_dir, app).schema(app, event_type).text.rstrip("\n"))


@schemas.command()
@data_dir_option
@app_option
@click.argument("event_type", metavar="TYPE")
def delete(data_dir: Path, app: str, event_type: str) -> None:
    """Take back the schema of an event type: its events are taken with any data again.

    \b
    Examples:
      kinstream schemas delete order.paid
    """
    rule_book(data_dir, app).delete_schema(app, event_type)
    click.echo(f"{event_type} of app {app} has no schema any more")


def _read(file: Path) -> str:
    from kinstream.errors import PermanentError

    try:
        with click.open_file(str(file), encoding="utf-8") as opened:
            return str(opened.read())
    except UnicodeDecodeError as error:
        raise PermanentError(f"{file} is no UTF-8 text") from error
