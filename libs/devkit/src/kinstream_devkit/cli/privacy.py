"""kinstream privacy"""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from kinstream_devkit.cli._stack import app_option, data_dir_option, rule_book

if TYPE_CHECKING:
    from kinstream.app_rules import Privacy


@click.group(short_help="What of an app's events is not kept.")
def privacy() -> None:
    """What of an app's events is not kept: addresses, user agents, and fields that you name.

    It is taken out before an event is stored anywhere, the quarantine included. What is stored already
    stays. A change counts within ten seconds.

    \b
    Examples:
      kinstream privacy show
      kinstream privacy set --ip truncate --user-agent drop
      kinstream privacy set --deny email --deny address.street
    """


@privacy.command()
@data_dir_option
@app_option
def show(data_dir: Path, app: str) -> None:
    """Show the switches of an app.

    \b
    Examples:
      kinstream privacy show
      kinstream privacy show --app photos
    """
    _print(rule_book(data_dir, app).rules_of(app).privacy)


@privacy.command("set")
@data_dir_option
@app_option
@click.option(
    "--ip",
    type=click.Choice(["keep", "truncate", "drop"]),
    help="truncate: 203.0.113.77 becomes 203.0.113.0, of IPv6 the first 48 bits stay.",
)
@click.option("--user-agent", type=click.Choice(["keep", "drop"]), help="Under every name clients use.")
@click.option("--deny", multiple=True, metavar="NAME", help="Drop a field: by name, or by end of its path.")
@click.option("--allow", multiple=True, metavar="NAME", help="Take back a --deny.")
def set_switches(
    *,
    data_dir: Path,
    app: str,
    ip: str | None,
    user_agent: str | None,
    deny: tuple[str, ...],
    allow: tuple[str, ...],
) -> None:
    """Change the switches that are named; the others stay as they are.

    A denied name is dropped at any depth, in upper or lower case: `email` drops every field of that name,
    `address.street` every `street` that lies directly in an `address`. An event's own id, type, customer_id
    and occurred_at always stay.

    \b
    Examples:
      kinstream privacy set --ip truncate --user-agent drop
      kinstream privacy set --app photos --deny email --deny address.street
      kinstream privacy set --allow email --ip keep
    """
    import msgspec

    book = rule_book(data_dir, app)
    before = book.rules_of(app).privacy
    allowed = {name.casefold() for name in allow}
    if unknown := allowed - set(before.deny):
        raise click.UsageError(
            f"{', '.join(sorted(unknown))} was not denied; `kinstream privacy show` says what is"
        )
    names = [name for name in (*before.deny, *deny) if name not in allowed]
    values = {"ip": ip or before.ip, "user_agent": user_agent or before.user_agent, "deny": tuple(names)}
    book.set_privacy(app, msgspec.structs.replace(before, **values))
    _print(book.rules_of(app).privacy)


def _print(switches: "Privacy") -> None:
    click.echo(f"ip          {switches.ip}")
    click.echo(f"user agent  {switches.user_agent}")
    click.echo(f"denied      {', '.join(switches.deny) or '(nothing)'}")
