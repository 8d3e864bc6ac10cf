"""What a simulated day says, in figures that a person asks for. Pure."""

from collections.abc import Mapping

import msgspec
import numpy as np

from kinstream_devkit.plan.domain.curve import Floats
from kinstream_devkit.plan.domain.deployment import API, Deployment
from kinstream_devkit.plan.domain.fleet import Limits
from kinstream_devkit.plan.domain.simulation import Day, Trace

LATE_SECONDS = 30.0
"""The delay that Terraform scales for (`max_delay_seconds`)."""
_FULL = 1 - 1e-6


class Service(msgspec.Struct, frozen=True):
    """One service's day. Its backlog is messages; of ingest-api, events that wait at their senders."""

    name: str
    peak_backlog: int
    peak_at_seconds: float
    oldest_seconds: float
    most_tasks: int
    max_tasks: int
    late_from_seconds: float | None
    """From when on the oldest was older than LATE_SECONDS; None: never."""
    late_until_seconds: float | None
    """Until when, for the last time; None: never, or beyond the day."""
    late_seconds: float
    """How long in all."""
    left: int
    """Backlog when the day ends."""


class Table(msgspec.Struct, frozen=True):
    """One table's day, in write units a second."""

    name: str
    highest: int
    took_at_first: int
    takes_at_last: int
    refusing_minutes: float


class Outcome(msgspec.Struct, frozen=True):
    """One day."""

    name: str
    events: int
    highest_events_a_second: int
    services: list[Service]
    tables: list[Table]
    dollars: dict[str, float]

    @property
    def total_dollars(self) -> float:
        """Of the whole day."""
        return sum(self.dollars.values())


def outcome(name: str, day: Day, deployed: Deployment, dollars: Mapping[str, Floats]) -> Outcome:
    """The figures."""
    limits = {API: deployed.api.limits, **{one.name: one.limits for one in deployed.consumers}}
    return Outcome(
        name=name,
        events=round(float(day.offered.sum()) * day.step_seconds),
        highest_events_a_second=round(float(day.offered.max())),
        services=[_service(n, trace, limits[n], day.step_seconds) for n, trace in day.traces.items()],
        tables=[_table(table, day) for table in day.loads],
        dollars={charge: float(values.sum()) for charge, values in dollars.items()},
    )


def _service(name: str, trace: Trace, limits: Limits, step_seconds: float) -> Service:
    ages = trace.oldest_seconds(step_seconds)
    late = np.flatnonzero(ages > LATE_SECONDS)
    peak = int(trace.backlog.argmax())
    ended = len(late) > 0 and late[-1] + 1 < len(ages)
    return Service(
        name=name,
        peak_backlog=round(float(trace.backlog[peak])),
        peak_at_seconds=(peak + 1) * step_seconds,
        oldest_seconds=round(float(ages.max()), 1),
        most_tasks=int(trace.ordered.max()),
        max_tasks=max(limits.max_tasks, limits.min_tasks),
        late_from_seconds=float(late[0] + 1) * step_seconds if len(late) else None,
        late_until_seconds=float(late[-1] + 1) * step_seconds if ended else None,
        late_seconds=len(late) * step_seconds,
        left=round(float(trace.backlog[-1])),
    )


def _table(name: str, day: Day) -> Table:
    loads, capacities = day.loads[name], day.capacities[name]
    return Table(
        name=name,
        highest=round(float(loads.max()) * 1_000),
        took_at_first=round(float(capacities[0]) * 1_000),
        takes_at_last=round(float(capacities[-1]) * 1_000),
        refusing_minutes=round(float(np.sum(loads >= capacities * _FULL)) * day.step_seconds / 60, 1),
    )
