"""What DynamoDB takes: a table on demand that grows after its peaks, and keys that are hot. Pure.

Loads are in partitions: 1 is as much as one partition takes, 1,000 write units or 3,000 read units a second.
"""

from collections import deque

import numpy as np

WRITE_UNITS_A_PARTITION = 1_000
READ_UNITS_A_PARTITION = 3_000
FIRST_PARTITIONS = 4.0
"""What a new table on demand takes: 4,000 write units a second."""
GROWTH = 2.0
"""It takes so many times its highest load so far ..."""
PEAK_COUNTS_AFTER_SECONDS = 1_800.0
"""... where that is so long ago; within that time it may refuse what is above."""
_MINUTE_SECONDS = 60.0


def load(write_units: float, read_units: float) -> float:
    """In partitions."""
    return write_units / WRITE_UNITS_A_PARTITION + read_units / READ_UNITS_A_PARTITION


class OnDemandTable:
    """How much a table takes. `peak` is its highest load before the day, averaged over a minute."""

    def __init__(self, peak: float = 0.0) -> None:
        self.capacity = max(FIRST_PARTITIONS, GROWTH * peak)
        self._minute_ends = _MINUTE_SECONDS
        self._taken = 0.0
        self._recent: deque[tuple[float, float]] = deque()

    def take(self, taken: float, until_seconds: float, step_seconds: float) -> None:
        """Remember a step's load, which ended at `until_seconds`. Steps divide a minute."""
        self._taken += taken * step_seconds
        if until_seconds < self._minute_ends:
            return
        self._recent.append((until_seconds, self._taken / _MINUTE_SECONDS))
        self._taken, self._minute_ends = 0.0, self._minute_ends + _MINUTE_SECONDS
        while self._recent[0][0] <= until_seconds - PEAK_COUNTS_AFTER_SECONDS:
            self.capacity = max(self.capacity, GROWTH * self._recent.popleft()[1])


def hottest_share(keys: int, zipf: float) -> float:
    """The share of events that the most popular of so many keys has, by Zipf's law; 0: all alike."""
    return float(1 / np.sum(np.arange(1, keys + 1, dtype=np.float64) ** -zipf))


def hot_groups_a_second(
    share: float, events_a_group: float, units_a_write: float, slots: int, tasks: int
) -> float:
    """At how many groups a second the hottest key takes a whole partition, which is all that it can have.

    A group writes a key once, however many of its events touch it. Each task has one of the key's `slots`,
    drawn by lot.
    """
    touches = 1 - (1 - share) ** events_a_group
    different = slots * (1 - (1 - 1 / slots) ** max(tasks, 1))
    units_a_group = touches * units_a_write / different
    return WRITE_UNITS_A_PARTITION / units_a_group if units_a_group else float("inf")
