"""What a run costs, by list prices: an estimate for its report, not a bill."""

from collections.abc import Sequence
from typing import NamedTuple

from recommender_trigger.domain.runs import Usage

PRICES_AS_OF = "us-east-1, November 2025, on demand"
M7G_XLARGE_USD_HOUR = 0.1632
EMR_ON_IT_USD_HOUR = 0.0408
SERVERLESS_VCPU_USD_HOUR = 0.052624
SERVERLESS_GB_USD_HOUR = 0.0057785
SERVERLESS_STORAGE_GB_USD_HOUR = 0.000111
"""EMR Serverless on x86, which is its default."""
WRITE_UNIT_USD = 0.625e-6
_UNIT_BYTES = 1024
_HOUR_MS = 3_600_000


class Charge(NamedTuple):
    """One kind of charge."""

    what: str
    usd: float | None
    """None: not estimated."""


def write_units(item_bytes: int) -> int:
    """DynamoDB's write units of one item."""
    return -(-item_bytes // _UNIT_BYTES)


def charges(
    launcher: str, *, machines: int, run_ms: int, usage: Usage | None, written_units: int
) -> Sequence[Charge]:
    """Of a run by where it was launched; `machines` are those of its cluster, `usage` what it was told of."""
    return (
        _computing(launcher, machines, run_ms, usage),
        Charge(f"{written_units:,} DynamoDB write units", written_units * WRITE_UNIT_USD),
    )


def total_usd(found: Sequence[Charge]) -> float | None:
    """Of all charges; None where one of them is not known."""
    known = [one.usd for one in found if one.usd is not None]
    return round(sum(known), 6) if len(known) == len(found) else None


def _computing(launcher: str, machines: int, run_ms: int, usage: Usage | None) -> Charge:
    minutes = f"{run_ms / 60_000:.1f} min"
    match launcher:
        case "emr":
            what = f"{machines} machines for {minutes}, as m7g.xlarge with EMR, spot counted as on demand"
            usd = machines * run_ms / _HOUR_MS * (M7G_XLARGE_USD_HOUR + EMR_ON_IT_USD_HOUR)
            return Charge(what, usd)
        case "local":
            return Charge(f"{minutes} on the trigger's own machine", 0.0)
        case "emr-serverless" if usage:
            what = (
                f"{usage.vcpu_hours:.2f} vCPU hours, {usage.memory_gb_hours:.2f} GB hours of memory and "
                f"{usage.storage_gb_hours:.2f} of storage, as EMR Serverless told"
            )
            usd = (
                usage.vcpu_hours * SERVERLESS_VCPU_USD_HOUR
                + usage.memory_gb_hours * SERVERLESS_GB_USD_HOUR
                + usage.storage_gb_hours * SERVERLESS_STORAGE_GB_USD_HOUR
            )
            return Charge(what, usd)
    return Charge(f"{minutes} of {launcher}, which has not told what the job used", None)
