"""kinstream limits"""

from pathlib import Path

import click

from kinstream_devkit.cli._stack import app_option, data_dir_option, rule_book

_DEFAULT = "default"
_MOST = 10_000_000
"""Events a second: what a deployment may give as well."""
_SHOWN_CHARACTERS = 40


@click.group(short_help="How many events a second an app's keys may send.")
def limits() -> None:
    """How many events a second each key of an app may send, where it is not what the deployment gives all.

    A change counts within ten seconds.

    \b
    Examples:
      kinstream limits show --app photos
      kinstream limits set 500 --app photos
      kinstream limits set default --app photos
    """


@limits.command()
@data_dir_option
@app_option
def show(data_dir: Path, app: str) -> None:
    """Show the limit of an app.

    \b
    Examples:
      kinstream limits show
      kinstream limits show --app photos
    """
    _print(rule_book(data_dir, app).rules_of(app).events_per_second)


@limits.command("set")
@data_dir_option
@app_option
@click.argument("rate", metavar="EVENTS_PER_SECOND|default")
def set_limit(data_dir: Path, app: str, rate: str) -> None:
    """Give an app its own limit, or take it back.

    \b
    Examples:
      kinstream limits set 500 --app photos
      kinstream limits set default --app photos
    """
    parsed = _parse(rate)
    rule_book(data_dir, app).set_rate(app, parsed)
    _print(parsed)


def _print(rate: int | None) -> None:
    click.echo(_DEFAULT if rate is None else f"{rate:,} events a second")


def _parse(text: str) -> int | None:
    if text == _DEFAULT:
        return None
    rate = int(text) if text.isdecimal() and len(text) <= _SHOWN_CHARACTERS else 0
    if not 1 <= rate <= _MOST:
        shown = text[:_SHOWN_CHARACTERS]
        raise click.UsageError(f"{shown} is no rate: it is a whole number from 1 to {_MOST:,}, or {_DEFAULT}")
    return rate
