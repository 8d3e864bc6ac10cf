"""kinstream plan"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from kinstream_devkit.plan.domain.assumptions import Assumptions
    from kinstream_devkit.plan.domain.curve import Floats, Surge
    from kinstream_devkit.plan.files import PriceList
    from kinstream_devkit.plan.run import Simulated

_FILE = click.Path(dir_okay=False, path_type=Path)


class _Number(click.FloatRange):
    """Not-a-number lies within any range, as far as comparing tells."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is no number", param, ctx)
        return number


class _Time(click.ParamType[float]):
    """A time of the day, as seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        from kinstream_devkit.plan.domain.curve import seconds_of

        try:
            return seconds_of(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.command(short_help="Simulate a day on AWS: backlog, tasks and cost, and a surge.")
@click.option(
    "--events-per-day",
    type=_Number(min=0, max=1e12),
    default=33_000_000,
    show_default=True,
    help="Events of a day.",
)
@click.option(
    "--peak-factor", default=2.5, show_default=True, help="How much higher the peak is than the average."
)
@click.option("--peak-at", type=_Time(), default="20:00", show_default=True, help="When the peak is.")
@click.option(
    "--curve", type=_FILE, help="CSV of time (HH:MM or seconds) and events a second, in place of these."
)
@click.option(
    "--surge",
    type=_Number(min=1, max=100_000),
    default=20,
    show_default=True,
    help="Times as many events.",
)
@click.option("--surge-at", type=_Time(), default="20:00", show_default=True, help="When the surge begins.")
@click.option(
    "--surge-rise-seconds",
    type=_Number(min=0, max=86_400),
    default=60,
    show_default=True,
    help="Its rise.",
)
@click.option(
    "--surge-minutes",
    type=_Number(min=0, max=1_440),
    default=30,
    show_default=True,
    help="How long it lasts.",
)
@click.option(
    "--environment", default="prod", show_default=True, help="Whose sizes: prod, dev, or one of --rates."
)
@click.option("--tasks", multiple=True, metavar="SERVICE=MIN-MAX", help="Tasks of a service or processor.")
@click.option("--rate", multiple=True, metavar="NAME=EVENTS", help="Events a second that one task works off.")
@click.option(
    "--warm", multiple=True, metavar="TABLE=UNITS", help="Write units a second that a table takes at once."
)
@click.option("--rates", type=_FILE, help="TOML that says otherwise than the measured figures.")
@click.option(
    "--processors",
    type=_FILE,
    default=Path("infra/terraform/processors.json"),
    show_default=True,
    help="The list of processors.",
)
@click.option(
    "--prices",
    type=_FILE,
    default=Path("benchmarks/prices.json"),
    show_default=True,
    help="The list of prices.",
)
@click.option(
    "--png",
    type=_FILE,
    default=Path(".kinstream/plan.png"),
    show_default=True,
    help="Where the picture goes.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON in place of tables.")
def plan(**options: Any) -> None:
    """Simulate a day of a deployment on AWS, and the same day with a surge.

    It reckons with rates that were measured, with how AWS scales tasks and tables, and with the prices in the
    repository. It needs no AWS. What it knows and what it leaves out: docs/capacity.md.

    \b
    Examples:
      kinstream plan                                   a billion events a month, a 20x surge in one minute
      kinstream plan --events-per-day 8e9 --tasks activity=2-300 --tasks content=2-300
      kinstream plan --warm counters=40000 --warm ledger=20000 --warm records=10000
      kinstream plan --curve yesterday.csv --surge 5 --surge-at 07:30 --surge-minutes 10
      kinstream plan --rate content=4500 --json
    """
    try:
        from kinstream_devkit.plan.picture import draw
        from kinstream_devkit.plan.words import tell
    except ModuleNotFoundError as error:
        raise click.ClickException(
            f"{error.name} is missing; run `make setup`, or install `kinstream-devkit[plan]`"
        ) from error

    prices, given, days = _simulated(options)
    draw(days, options["png"])
    if options["as_json"]:
        _print_json(prices, given, days)
        return
    tell([one.outcome for one in days])
    click.echo(f"\nPrices of {prices.region}, {prices.as_of}. The picture: {options['png']}")


def _simulated(options: Mapping[str, Any]) -> "tuple[PriceList, Assumptions, list[Simulated]]":
    from kinstream_devkit.plan import files
    from kinstream_devkit.plan.domain.deployment import deployment
    from kinstream_devkit.plan.options import overrides, warm_units
    from kinstream_devkit.plan.run import plan as simulated

    handles = files.read_handles(options["processors"])
    prices = files.read_prices(options["prices"])
    over = overrides(options["environment"], options["tasks"], options["rate"], handles)
    given = files.read_assumptions(options["rates"], over)
    deployed = deployment(given, handles, options["environment"])
    warm = warm_units(options["warm"], deployed.tables)
    rates, surge = _traffic(options)
    return (
        prices,
        given,
        simulated(rates, surge, deployed, given=given, prices=prices.prices, warm_units=warm),
    )


def _traffic(options: Mapping[str, Any]) -> "tuple[Floats, Surge]":
    from kinstream_devkit.plan import files
    from kinstream_devkit.plan.domain import curve
    from kinstream_devkit.plan.run import AT

    surge = curve.Surge(
        factor=options["surge"],
        at_seconds=options["surge_at"],
        rise_seconds=options["surge_rise_seconds"],
        lasting_seconds=options["surge_minutes"] * 60,
    )
    if options["curve"]:
        return curve.from_csv(files.read_text(options["curve"]), AT, str(options["curve"])), surge
    rates = curve.daily(
        AT,
        events_a_day=options["events_per_day"],
        peak_factor=options["peak_factor"],
        peak_at_seconds=options["peak_at"],
    )
    return rates, surge


def _print_json(prices: "PriceList", given: "Assumptions", days: "list[Simulated]") -> None:
    import msgspec

    told = {
        "days": [
            msgspec.to_builtins(one.outcome) | {"total_dollars": one.outcome.total_dollars} for one in days
        ],
        "prices": {"region": prices.region, "as_of": prices.as_of},
        "assumptions": given,
    }
    click.echo(msgspec.json.format(msgspec.json.encode(told)).decode())
