"""kinstream keys"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinstream_devkit.cli._stack import data_dir_option, running_stack

if TYPE_CHECKING:
    from kinstream_devkit.apps import Apps
    from kinstream_devkit.embedded.datadir import DataDir

_app = click.option("--app", default="demo", show_default=True, help="The app whose keys are meant.")
_kind = click.option(
    "--kind",
    type=click.Choice(["write", "secret"]),
    required=True,
    help="A write key may only send; a secret key is for servers.",
)


@click.group(short_help="API keys of the stack that runs here.")
def keys() -> None:
    """API keys of the stack that runs here: list, create, rotate, revoke.

    Keys are kept as hashes: a key's text is shown once, when it is made.

    \b
    Examples:
      kinstream keys list
      kinstream keys create --app photos --kind write
      kinstream keys rotate --kind secret
      kinstream keys revoke 3f2a91c0
    """


@keys.command("list")
@data_dir_option
@click.option("--app", help="Only this app's keys.")
def list_keys(data_dir: Path, app: str | None) -> None:
    """Show every key: its app, kind, the beginning of its hash, since when and until when it works.

    \b
    Examples:
      kinstream keys list
      kinstream keys list --app photos
    """
    from rich.console import Console
    from rich.table import Table

    from kinstream.events import format_time_ms

    apps, _ = _open(data_dir)
    table = Table("app", "kind", "key", "created", "revoked", box=None)
    for name in [app] if app else apps.app_names():
        for key in apps.keys_of(name):
            revoked = format_time_ms(key.revoked_at_ms) if key.revoked_at_ms else "-"
            table.add_row(name, key.kind, key.hash[:8], format_time_ms(key.created_at_ms), revoked)
    Console(width=110).print(table)


@keys.command()
@data_dir_option
@_app
@_kind
def create(data_dir: Path, app: str, kind: str) -> None:
    """Make a key, and its app if there is none of that name. Prints the key.

    \b
    Examples:
      kinstream keys create --app photos --kind write
    """
    from kinstream_devkit.apps import key_kind

    apps, _ = _open(data_dir)
    click.echo(apps.create(app, key_kind(kind)))


@keys.command()
@data_dir_option
@_app
@_kind
def rotate(data_dir: Path, app: str, kind: str) -> None:
    """Make a new key and print it. The old ones go on working until you revoke them.

    \b
    Examples:
      kinstream keys rotate --kind secret
      kinstream keys rotate --app photos --kind write
    """
    from kinstream_devkit.apps import key_kind

    apps, data = _open(data_dir)
    if app not in apps.app_names():
        raise click.UsageError(f"there is no app {app}; `kinstream keys create` makes one")
    text = apps.create(app, key_kind(kind))
    credentials = data.read_credentials()
    if credentials.get("app") == app:
        data.write_credentials(credentials | {f"{kind}_key": text})
    click.echo(text)
    live = [key.hash[:8] for key in apps.keys_of(app) if key.kind == kind and not key.revoked_at_ms]
    click.echo(f"now live: {', '.join(live)}; end an old one with `kinstream keys revoke KEY`", err=True)


@keys.command()
@data_dir_option
@_app
@click.argument("key")
def revoke(data_dir: Path, app: str, key: str) -> None:
    """End a key, named by the beginning of its hash as `list` shows it.

    The API may take it for a few seconds more.

    \b
    Examples:
      kinstream keys revoke 3f2a91c0
    """
    apps, _ = _open(data_dir)
    revoked = apps.revoke(app, key)
    click.echo(f"revoked {revoked.kind} key {revoked.hash[:8]} of app {revoked.app}")


def _open(data_dir: Path) -> "tuple[Apps, DataDir]":
    from kinstream_devkit.apps import Apps

    stack = running_stack(data_dir)
    return Apps(stack.client("dynamodb"), stack.names), stack.data
