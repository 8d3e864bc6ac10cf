"""What a run costs, by list prices: an estimate for its report, not a bill."""

from collections.abc import Mapping
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
    usd: float


def write_units(item_bytes: int) -> int:
    """DynamoDB's write units of one item."""
    return -(-item_bytes // _UNIT_BYTES)


def charges(*, machines: int, run_ms: int, written_units: int) -> Mapping[str, Charge]:
    """By name. `machines` is 0 where the run had none of its own; spot ones cost less than is said here."""
    hours = machines * run_ms / _HOUR_MS
    minutes = f"{run_ms / 60_000:.1f} min"
    what = f"{machines} machines for {minutes}, as m7g.xlarge with EMR, spot counted as on demand"
    return {
        "machines": Charge(
            what if machines else "none of its own: it ran on the trigger's machine",
            hours * (M7G_XLARGE_USD_HOUR + EMR_ON_IT_USD_HOUR),
        ),
        "lists": Charge(f"{written_units:,} DynamoDB write units", written_units * WRITE_UNIT_USD),
    }
