"""What a load through an outage of SNS must show, judged from what was counted. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

RECOVERY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """One thing that must hold."""

    claim: str
    holds: bool
    counted: str


@dataclass(frozen=True, slots=True)
class Outage:
    """A load through an outage, in numbers. Times are seconds since the start of the load."""

    events: int
    """That were to be sent."""
    acknowledged: int
    arrived: int
    """Different ones, at SNS."""
    copies: int
    """That arrived beside them: they count once."""
    refusals: int
    refusals_with_retry_after: int
    mended: float
    last_trouble: float
    """When the last request was refused or given up."""
    overdue_until: float
    """When the last of the requests that were due before the mending was acknowledged."""

    @property
    def recovery_seconds(self) -> float:
        """From the end of the outage until nobody was refused any more and nothing was left over."""
        return max(0.0, self.last_trouble - self.mended, self.overdue_until - self.mended)


def verdicts(outage: Outage) -> list[Verdict]:
    """What the demonstration claims, each with whether it held."""
    return [
        Verdict(
            "while SNS is away senders are told 503 with Retry-After",
            0 < outage.refusals == outage.refusals_with_retry_after,
            f"{outage.refusals_with_retry_after:,} of {outage.refusals:,} refusals",
        ),
        Verdict(
            "no event is lost: all are acknowledged in the end, and what is acknowledged has arrived",
            outage.events == outage.acknowledged == outage.arrived,
            f"{outage.events:,} sent, {outage.acknowledged:,} acknowledged, {outage.arrived:,} arrived "
            f"(and {outage.copies:,} copies, which count once)",
        ),
        Verdict(
            f"all is well again within {RECOVERY_SECONDS:.0f} s",
            outage.acknowledged == outage.events and outage.recovery_seconds <= RECOVERY_SECONDS,
            f"{outage.recovery_seconds:.1f} s after SNS came back",
        ),
    ]


def overdue_until(due: Mapping[int, float], delays: Mapping[int, float], mended: float) -> float:
    """When the last request that was due before `mended` had succeeded; `mended` where that was before it.

    Both mappings are by number of the request: when it was due, and how long after that it succeeded.
    """
    done = (at + delays[number] for number, at in due.items() if at < mended and number in delays)
    return max([mended, *done])
