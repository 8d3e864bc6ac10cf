"""Tasks of one service: what CloudWatch, Application Auto Scaling and ECS make of its load. Pure."""

import math
from collections import deque
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The knobs of `scaling` in Terraform."""

    min_tasks: int
    max_tasks: int
    out_after_seconds: float
    in_after_seconds: float


@dataclass(frozen=True, slots=True)
class Delays:
    """How AWS scales, as far as it says; the last is a guess, see docs/capacity.md."""

    period_seconds: float
    """One figure of a metric."""
    metric_delay_seconds: float
    """From the end of its period until an alarm sees it."""
    out_periods: int
    """So many figures above the target before tasks are added."""
    in_periods: int
    """So many figures well below it before tasks are taken away."""
    in_below: float
    """What is well below the target, as a share of it."""
    task_start_seconds: float
    """From the order for a task until it works."""
    in_share: float
    """The largest share of the tasks that is taken away at once."""


class Fleet:
    """Tasks of one service. Its load is the number of tasks at which its metric would be on target.

    Backlog per task and CPU are alike in this: both are the load divided by the tasks that run, so one rule
    serves both. Invariant: min_tasks <= ordered <= max_tasks, and running <= ordered.
    """

    def __init__(self, limits: Limits, delays: Delays, tasks: int | None = None) -> None:
        """`tasks` run at first, as many as the limits allow; without, the fewest."""
        self._limits = limits
        self._delays = delays
        self.running = max(limits.min_tasks, min(limits.max_tasks, tasks or 0))
        self.ordered = self.running
        """Those that run and those that start: what is paid for."""
        self._starting: deque[tuple[float, int]] = deque()
        self._unseen: deque[tuple[float, float, float]] = deque()
        self._seen: deque[float] = deque(maxlen=max(delays.in_periods, delays.out_periods))
        self._no_more_before = 0.0
        self._no_fewer_before = 0.0

    def advance(self, now_seconds: float) -> None:
        """Let what is due by now happen: tasks become ready, alarms see figures and act."""
        while self._starting and self._starting[0][0] <= now_seconds:
            self.running += self._starting.popleft()[1]
        while self._unseen and self._unseen[0][0] <= now_seconds:
            _, load, ratio = self._unseen.popleft()
            self._seen.append(ratio)
            self._act(now_seconds, load)

    def report(self, now_seconds: float, load: float) -> None:
        """One figure of the metric: the load of the period that ends now, on average."""
        ratio = load / max(self.running, 1)
        self._unseen.append((now_seconds + self._delays.metric_delay_seconds, load, ratio))

    def _act(self, now_seconds: float, load: float) -> None:
        seen, delays = list(self._seen), self._delays
        if self.ordered == 0:
            # The alarm that wakes a sleeping service asks for one figure alone.
            if load > 0:
                self._order(1, now_seconds)
            return
        if len(seen) >= delays.out_periods and min(seen[-delays.out_periods :]) > 1:
            wanted = min(self._limits.max_tasks, math.ceil(load))
            if wanted > self.ordered and now_seconds >= self._no_more_before:
                self._order(wanted, now_seconds)
        elif len(seen) >= delays.in_periods and max(seen[-delays.in_periods :]) < delays.in_below:
            spared = self.ordered - max(1, math.floor(self.ordered * delays.in_share))
            wanted = max(self._limits.min_tasks, math.ceil(load), spared)
            if wanted < self.ordered and now_seconds >= self._no_fewer_before:
                self._dismiss(self.ordered - wanted)
                self._no_fewer_before = now_seconds + self._limits.in_after_seconds

    def _order(self, tasks: int, now_seconds: float) -> None:
        self._starting.append((now_seconds + self._delays.task_start_seconds, tasks - self.ordered))
        self.ordered = tasks
        self._no_more_before = now_seconds + self._limits.out_after_seconds
        self._no_fewer_before = 0.0

    def _dismiss(self, tasks: int) -> None:
        """Those that are still starting first."""
        self.ordered -= tasks
        while tasks and self._starting:
            ready_at, count = self._starting.pop()
            spared = max(0, count - tasks)
            tasks -= count - spared
            if spared:
                self._starting.append((ready_at, spared))
        self.running -= tasks
