"""What a run costs, by list prices: an estimate for its report, not a bill."""

from collections.abc import Sequence
from typing import NamedTuple

PRICES_AS_OF = "us-east-1, November 2025, on demand"
M7G_XLARGE_USD_HOUR = 0.1632
EMR_ON_IT_USD_HOUR = 0.0408
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


def charges(launcher: str, *, machines: int, run_ms: int, written_units: int) -> Sequence[Charge]:
    """Of a run by where it was launched; `machines` are those of its cluster."""
    return (
        _computing(launcher, machines, run_ms),
        Charge(f"{written_units:,} DynamoDB write units", written_units * WRITE_UNIT_USD),
    )


def _computing(launcher: str, machines: int, run_ms: int) -> Charge:
    minutes = f"{run_ms / 60_000:.1f} min"
    match launcher:
        case "emr":
            what = f"{machines} machines for {minutes}, as m7g.xlarge with EMR, spot counted as on demand"
            usd = machines * run_ms / _HOUR_MS * (M7G_XLARGE_USD_HOUR + EMR_ON_IT_USD_HOUR)
            return Charge(what, usd)
        case "local":
            return Charge(f"{minutes} on the trigger's own machine", 0.0)
    return Charge(f"{minutes} of {launcher}, which bills by what the job used", None)
