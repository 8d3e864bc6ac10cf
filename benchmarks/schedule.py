"""The arithmetic of a load: when a request is due, how long the slowest waited, how memory grew. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Schedule:
    """So many requests at a fixed pace, whatever becomes of those before."""

    per_second: float
    count: int

    def __post_init__(self) -> None:
        if self.per_second <= 0 or self.count < 1:
            raise ValueError("a load has a pace above 0 and at least one request")

    def due_seconds(self, number: int) -> float:
        """When a request is due, counted from the start. Its delay counts from here, not from its sending:
        a server that stalls must not get away with the requests that it kept from being sent."""
        return number / self.per_second

    def due_by(self, seconds: float) -> int:
        """How many are due so long after the start."""
        if seconds < 0:
            return 0
        # Rounded first, so that a request is due at the very moment that `due_seconds` says.
        return min(self.count, math.floor(round(seconds * self.per_second, 9)) + 1)


def percentile(values: Sequence[float], share: float) -> float:
    """The least of the values that is no less than this share of them (nearest rank)."""
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile is of some values and a share above 0, at most 1")
    return sorted(values)[math.ceil(round(share * len(values), 9)) - 1]


def growth_bytes(samples: Sequence[tuple[float, int]], settled_seconds: float) -> int:
    """How far the highest sample after the settling stands above the first one after it.

    `samples` are (seconds since the start, bytes), in order.
    """
    later = [size for seconds, size in samples if seconds >= settled_seconds]
    if len(later) < 2:
        raise ValueError("growth needs two samples after the settling")
    return max(later) - later[0]
