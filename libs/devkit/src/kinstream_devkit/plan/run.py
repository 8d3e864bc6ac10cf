"""Plans: the day as it is, and the same day with a surge. Pure but for the files that it is given."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from kinstream_devkit.plan.domain.assumptions import Assumptions
from kinstream_devkit.plan.domain.costs import dollars
from kinstream_devkit.plan.domain.curve import Floats, Surge, surged, times
from kinstream_devkit.plan.domain.deployment import Deployment
from kinstream_devkit.plan.domain.outcome import Outcome, outcome
from kinstream_devkit.plan.domain.simulation import Day, after, simulate
from kinstream_devkit.plan.domain.tables import GROWTH

STEP_SECONDS = 5.0
AT = times(STEP_SECONDS)
"""The middle of each step of a day."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """One day with what it costs."""

    name: str
    day: Day
    dollars: Mapping[str, Floats]
    outcome: Outcome


def plan(
    rates: Floats,
    surge: Surge,
    deployed: Deployment,
    *,
    given: Assumptions,
    prices: Mapping[str, float],
    warm_units: Mapping[str, float],
) -> list[Simulated]:
    """A normal day and one with the surge, both after normal days: tables know that load already.

    `warm_units` are write units a second that tables take at once nevertheless.
    """
    usual = after(simulate(rates, STEP_SECONDS, deployed))
    warm = {table: units / 1_000 / GROWTH for table, units in warm_units.items()}
    before = replace(
        usual, peaks={table: max(peak, warm.get(table, 0)) for table, peak in usual.peaks.items()}
    )
    days = {
        "a normal day": rates,
        f"a surge of {surge.factor:g}x": surged(rates, AT, surge),
    }
    found = []
    for name, its_rates in days.items():
        day = simulate(its_rates, STEP_SECONDS, deployed, before)
        charges = dollars(day, deployed, given, prices)
        found.append(Simulated(name, day, charges, outcome(name, day, deployed, charges)))
    return found
