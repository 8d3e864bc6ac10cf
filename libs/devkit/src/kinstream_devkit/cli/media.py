"""kinstream media"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from kinstream.errors import PermanentError
from kinstream_devkit.cli._stack import RunningStack, app_option, data_dir_option, passing_key, running_stack

if TYPE_CHECKING:
    from kinstream_devkit.demo.client import DemoClient
    from kinstream_devkit.media_put import Outcome

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_url = click.option(
    "--url", envvar="KINSTREAM_API_URL", help="Of a deployment's API.  [default: of the stack that runs here]"
)
_secret_key = click.option(
    "--secret-key",
    envvar="KINSTREAM_SECRET_KEY",
    help="Of the app.  [default: the stack's own, or one made for this call]",
)


@click.group(short_help="Upload videos, photos and sound, and see what was made of them.")
def media() -> None:
    """Upload videos, photos and sound, and see what was made of them.

    \b
    Examples:
      kinstream media put birthday.3gp beach.jpg
      kinstream media show 3f2a91c04be84f0ea0a7d8e5b1c96d42
    """


@media.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--customer", default="demo", show_default=True, help="Whose files they are.")
@click.option("--wait/--no-wait", default=True, help="Wait until each is ready or failed.  [default: wait]")
@click.option(
    "--within",
    type=click.FloatRange(min=0),
    default=3_600,
    show_default=True,
    metavar="SECONDS",
    help="The longest wait for all of them together.",
)
@click.option("--content-type", help="Of the files, where neither contents nor names tell it.")
@app_option
@data_dir_option
@_url
@_secret_key
def put(
    *,
    files: tuple[Path, ...],
    customer: str,
    wait: bool,
    within: float,
    content_type: str | None,
    app: str,
    data_dir: Path,
    url: str | None,
    secret_key: str | None,
) -> None:
    """Upload files, one after another, and wait until renditions of all of them are made.

    What a file is, its first bytes tell, and its name where they do not. A line a file says what came of it:
    ready or failed, its id, what was made or why nothing was. With --no-wait it ends once all are uploaded.

    Exits 0 where every file was taken and none failed, 1 otherwise.

    \b
    Examples:
      kinstream media put birthday.3gp beach.jpg
      kinstream media put --customer fam-42 --no-wait holiday/*.mov
      kinstream media put --url https://api.example.com --secret-key ks_... clip.mp4
    """
    import asyncio

    from kinstream_devkit.media_put import Order, put_files
    from kinstream_devkit.progress import Progress

    order = Order(files, customer, content_type, within if wait else None)
    bar = Progress("media")

    def tell(outcome: "Outcome") -> None:
        bar.end()
        click.echo(outcome.line)

    async def run() -> "list[Outcome]":
        async with _client(stack.url, key) as client:
            return await put_files(client, order, bar.at_text, tell)

    stack = running_stack(data_dir, url)
    with _key(stack, app, secret_key) as key:
        try:
            outcomes = asyncio.run(run())
        finally:
            bar.end()
    raise SystemExit(0 if all(outcome.is_good for outcome in outcomes) else 1)


@media.command()
@click.argument("media_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print what the API answers.")
@app_option
@data_dir_option
@_url
@_secret_key
def show(
    *, media_id: str, as_json: bool, app: str, data_dir: Path, url: str | None, secret_key: str | None
) -> None:
    """Show an uploaded file: its state, how far it is, why it failed, and what was made of it.

    The URLs work without a key for a limited time; ask again for fresh ones.

    \b
    Examples:
      kinstream media show 3f2a91c04be84f0ea0a7d8e5b1c96d42
      kinstream media show 3f2a91c04be84f0ea0a7d8e5b1c96d42 --json | jq -r '.renditions[].url'
    """
    import asyncio

    from kinstream_devkit.media_files import path_of

    async def ask() -> dict[str, Any]:
        async with _client(stack.url, key) as client:
            return await client.get(path_of(media_id))

    stack = running_stack(data_dir, url)
    with _key(stack, app, secret_key) as key:
        item = asyncio.run(ask())
    if as_json:
        click.echo(json.dumps(item, indent=2))
    else:
        _print(item)


def _client(url: str, key: str) -> "DemoClient":
    from kinstream_devkit.demo.client import DemoClient

    return DemoClient(url, key, key)


@contextmanager
def _key(stack: RunningStack, app: str, given: str | None) -> Iterator[str]:
    """The given key, the one that the stack keeps here if it is live, or a passing one."""
    from botocore.exceptions import BotoCoreError, ClientError

    from kinstream.registry import parse_key
    from kinstream_devkit.apps import Apps

    if given:
        yield given
        return
    try:
        stack.require_app(app)
        kept = stack.data.read_credentials()
        text = kept.get("secret_key") if kept.get("app") == app else None
        if text and Apps(stack.client("dynamodb"), stack.names).status(parse_key(text)) == "live":
            yield text
            return
        with passing_key(stack, app, "secret") as key:
            yield key()
    except (BotoCoreError, ClientError) as error:
        raise PermanentError(f"no key could be made ({error}); name one with --secret-key") from error


def _print(item: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from kinstream_devkit.media_words import dimensions_text, duration_text, size_text, source_text, state_of

    console = Console(width=None if Console().is_terminal else 120, highlight=False)
    console.print(f"[bold]{escape(item['media_id'])}[/bold] of customer {escape(item['customer_id'])}")
    console.print(escape(state_of(item)))
    if source := item["source"]:
        console.print(f"from {escape(source_text(source))}")
    for one in item["missing"]:
        console.print(f"{escape(one['name'])} could not be made: {escape(one['reason'])}")
    if placeholder := item["placeholder"]:
        console.print(f"placeholder (ThumbHash): {escape(placeholder)}")
    if not item["renditions"]:
        return
    table = Table("name", "kind", "size", "dimensions", "duration", "codecs", box=None)
    for made in item["renditions"]:
        table.add_row(
            made["name"],
            made["kind"],
            size_text(made["bytes"]),
            dimensions_text(made["width"], made["height"]),
            duration_text(made["duration_seconds"]),
            made["codecs"] or made["content_type"],
        )
    console.print(table)
    # Below the table: an address that a terminal breaks is one that nobody can copy.
    for made in item["renditions"]:
        click.echo(f"{made['name']}: {made['url']}")
