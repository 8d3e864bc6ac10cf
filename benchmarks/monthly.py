"""The cost table of docs/operations.md.

`python -m benchmarks.monthly` prints it, from `deployed.json`, `prices.json` and what `kinstream plan`
reckons with; `--count` counts anew what Terraform makes, into `deployed.json`: it needs Terraform, no AWS.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import msgspec

from benchmarks.deployed import Deployed, counted
from benchmarks.monthly_model import COUNTING_WRITE_UNITS, DAYS_A_MONTH, Load, Month, month, month_of_lambda
from benchmarks.terraform_plan import planned
from kinstream_devkit.plan.files import read_assumptions, read_handles, read_prices

DEPLOYED = Path(__file__).with_name("deployed.json")
PRICES = Path(__file__).with_name("prices.json")
INFRASTRUCTURE = Path(__file__).parents[1] / "infra" / "terraform"
LOADS = (
    Load(events=25e6, together=10),
    Load(events=1e9, together=20),
    Load(events=250e9, together=100),
)
_NAMES = ("25 million", "1 billion", "250 billion")
_SECONDS_A_MONTH = DAYS_A_MONTH * 86_400


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.monthly", description=__doc__)
    parser.add_argument("--count", action="store_true", help="ask Terraform what there is")
    if parser.parse_args().count:
        write({name: counted(planned(INFRASTRUCTURE, name)) for name in read()})
    print(table())


def read() -> dict[str, Deployed]:
    """What was counted, by environment."""
    return msgspec.json.decode(DEPLOYED.read_bytes(), type=dict[str, Deployed])


def write(found: Mapping[str, Deployed]) -> None:
    """Keep what was counted."""
    DEPLOYED.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")


def table() -> str:
    """Markdown."""
    prices = read_prices(PRICES).prices
    months = [_month("prod", load, prices) for load in LOADS] + [_month("dev", Load(0, 1), prices)]
    plain = [month_of_lambda(load, prices, 1) for load in LOADS]
    counting = [month_of_lambda(load, prices, COUNTING_WRITE_UNITS) for load in LOADS]
    return "\n".join(
        [
            _row("events a month", *_NAMES, "dev, none"),
            _row(*["---"] * 5),
            _row("a second, on average", *(_told(load.events / _SECONDS_A_MONTH) for load in LOADS), "0"),
            _row("events a request and a message, assumed", *(str(load.together) for load in LOADS), "-"),
            *(_row(line, *(_told(one.lines[line]) for one in months)) for line in months[0].lines),
            _row("**together**", *(f"**{_told(sum(one.lines.values()))}**" for one in months)),
            _row("of that, what stands there", *(_told(sum(one.standing.values())) for one in months)),
            _row("one Lambda invocation and one write an event", *map(_told, plain), "-"),
            _row("the same, counting as often as Kinstream does", *map(_told, counting), "-"),
        ]
    )


def _month(environment: str, load: Load, prices: Mapping[str, float]) -> Month:
    handles = read_handles(INFRASTRUCTURE / "processors.json")
    deployed = read()[environment]
    return month(load, environment, deployed, given=read_assumptions(), handles=handles, prices=prices)


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _told(amount: float) -> str:
    """Tenths below ten, whole below ten thousand, hundreds above: no more is known."""
    if amount >= 10_000:
        return f"{round(amount, -2):,.0f}"
    return f"{amount:,.0f}" if amount >= 10 or amount < 0.05 else f"{amount:.1f}"


if __name__ == "__main__":
    main()
