"""A day in small steps: senders, ingest-api, a queue a processor, its tasks, the tables. Pure.

A fluid: events and messages are real numbers, and all of a step's come at once. What ingest-api cannot take
waits at the senders, who are told to come back; what a table refuses stays in the queue.
Invariant: at every queue, what came = what was worked off + what waits.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kinstream_devkit.plan.domain.curve import Floats
from kinstream_devkit.plan.domain.deployment import API, Consumer, Deployment
from kinstream_devkit.plan.domain.fleet import Fleet
from kinstream_devkit.plan.domain.tables import OnDemandTable, hot_groups_a_second, load


@dataclass(slots=True)
class Trace:
    """One service over the day; a value at the end of each step, or of each step."""

    came: Floats
    done: Floats
    backlog: Floats
    refused: Floats
    """What tasks would have worked off, had the tables taken it."""
    running: Floats
    ordered: Floats
    held: Floats
    """Of `done` what is still under way, as it takes its time: a queue counts it until it is deleted."""

    @classmethod
    def of(cls, steps: int) -> "Trace":
        """Empty."""
        return cls(*(np.zeros(steps) for _ in range(7)))

    def oldest_seconds(self, step_seconds: float) -> Floats:
        """Age of the oldest that waits, first come first served; 0 where nothing does."""
        ends = np.arange(1, len(self.came) + 1) * step_seconds
        came, done = np.cumsum(self.came), np.cumsum(self.done)
        tiny = 1e-9 * max(1.0, float(came[-1]))
        # A little later than the last one done, lest that one's arrival count, which may be hours before.
        began = np.interp(done + tiny, np.concatenate(([0.0], came)), np.concatenate(([0.0], ends)))
        ages: Floats = np.where(self.backlog > tiny, np.maximum(0, ends - began), 0)
        return ages


@dataclass(slots=True)
class Day:
    """What came of it."""

    step_seconds: float
    offered: Floats
    """Events a second that senders had."""
    traces: dict[str, Trace]
    """By service: ingest-api in events, processors in messages."""
    loads: dict[str, Floats]
    """By table, in partitions."""
    capacities: dict[str, Floats]


@dataclass(slots=True)
class _Queue:
    consumer: Consumer
    fleet: Fleet
    trace: Trace
    waiting: float = 0.0
    wanted: float = 0.0
    """Messages that its tasks could work off in this step, tables permitting."""
    needs: dict[str, float] = field(default_factory=dict)
    """Load of each table, a message a second."""


@dataclass(slots=True)
class _Meter:
    """The average over a metric's period of how many tasks would be right."""

    steps: int
    total: float = 0.0
    count: int = 0

    def add(self, value: float, report: Callable[[float], None]) -> None:
        self.total += value
        self.count += 1
        if self.count == self.steps:
            report(self.total / self.steps)
            self.total, self.count = 0.0, 0


@dataclass(frozen=True, slots=True)
class Before:
    """What was before the day; where nothing is said tables are new and the fewest tasks run."""

    peaks: Mapping[str, float] = field(default_factory=dict)
    """The highest load so far, by table, in partitions."""
    tasks: Mapping[str, int] = field(default_factory=dict)
    """By service."""


def simulate(rates: Floats, step_seconds: float, deployed: Deployment, before: Before | None = None) -> Day:
    """The day at these rates, events a second of each step. Steps divide a metric's period."""
    return _Simulation(rates, step_seconds, deployed, before or Before()).run()


def after(day: Day) -> Before:
    """What such a day leaves to the next."""
    return Before(peaks_of(day), {name: int(trace.ordered[-1]) for name, trace in day.traces.items()})


def peaks_of(day: Day) -> dict[str, float]:
    """The highest load of each table, averaged over a minute: what it is used to after such a day."""
    a_minute = max(1, round(60 / day.step_seconds))
    window = np.ones(a_minute) / a_minute
    return {table: float(np.convolve(loads, window, "valid").max()) for table, loads in day.loads.items()}


class _Simulation:
    def __init__(self, rates: Floats, step_seconds: float, deployed: Deployment, before: Before) -> None:
        steps = len(rates)
        self._rates, self._step, self._deployed = rates, step_seconds, deployed
        self._tables = {name: OnDemandTable(before.peaks.get(name, 0.0)) for name in deployed.tables}
        self._api = Fleet(deployed.api.limits, deployed.delays, before.tasks.get(API))
        self._at_senders = 0.0
        self._queues = [
            _Queue(
                one,
                Fleet(one.limits, deployed.delays, before.tasks.get(one.name)),
                Trace.of(steps),
                needs=_needs(one),
            )
            for one in deployed.consumers
        ]
        period_steps = round(deployed.delays.period_seconds / step_seconds)
        self._meters = [_Meter(period_steps) for _ in range(len(self._queues) + 1)]
        self._day = Day(
            step_seconds,
            rates,
            {API: Trace.of(steps), **{queue.consumer.name: queue.trace for queue in self._queues}},
            {name: np.zeros(steps) for name in self._tables},
            {name: np.zeros(steps) for name in self._tables},
        )

    def run(self) -> Day:
        for number, rate in enumerate(self._rates.tolist()):
            now = number * self._step
            self._api.advance(now)
            accepted = self._accept(number, rate * self._step, now + self._step)
            for queue in self._queues:
                queue.fleet.advance(now)
                self._receive(number, queue, accepted)
            self._write(number)
            for meter, queue in zip(self._meters[1:], self._queues, strict=True):
                self._settle(number, meter, queue, now + self._step)
        return self._day

    def _accept(self, number: int, came: float, end: float) -> float:
        """Events that ingest-api takes in this step."""
        api, fleet = self._deployed.api, self._api
        most = fleet.running * api.events_a_second * self._step
        self._at_senders += came
        taken = min(self._at_senders, most)
        self._at_senders -= taken
        _note(self._day.traces[API], number, (came, taken, self._at_senders, 0.0), fleet)
        busy = taken / (api.events_a_second * self._step)
        self._meters[0].add(busy / api.cpu_target, lambda right: fleet.report(end, right))
        return taken

    def _receive(self, number: int, queue: _Queue, accepted: float) -> None:
        """Messages come, and the tasks have so much time for them."""
        one = queue.consumer
        came = accepted / self._deployed.events_a_message * one.messages_a_chunk
        queue.waiting += came
        queue.trace.came[number] = came
        queue.wanted = min(queue.waiting, queue.fleet.running * one.messages_a_second * self._step)

    def _write(self, number: int) -> None:
        """Share out what the tables take. A group is one transaction: its slowest table decides."""
        done = self._taken([min(queue.wanted, self._hot_limit(queue)) for queue in self._queues])
        for queue, messages in zip(self._queues, done, strict=True):
            queue.waiting = max(0.0, queue.waiting - messages)
            refused = queue.wanted - messages
            came = float(queue.trace.came[number])
            _note(queue.trace, number, (came, messages, queue.waiting, refused), queue.fleet)
            queue.trace.held[number] = messages / self._step * queue.consumer.group_seconds
        for name, table in self._tables.items():
            taken = self._load(name, done)
            self._day.loads[name][number], self._day.capacities[name][number] = taken, table.capacity
            table.take(taken, (number + 1) * self._step, self._step)

    def _taken(self, wanted: list[float]) -> list[float]:
        """What the tables take of it: the one that is asked for most gives everybody the same share, then the
        next, of what is left of their wishes."""
        for _ in self._tables:
            ratios = {name: self._load(name, wanted) / table.capacity for name, table in self._tables.items()}
            worst = max(ratios, key=ratios.__getitem__)
            if ratios[worst] <= 1:
                break
            wanted = [
                messages / ratios[worst] if worst in queue.needs else messages
                for queue, messages in zip(self._queues, wanted, strict=True)
            ]
        return wanted

    def _load(self, table: str, messages: Sequence[float]) -> float:
        needed = (queue.needs.get(table, 0.0) * n for queue, n in zip(self._queues, messages, strict=True))
        return sum(needed) / self._step

    def _hot_limit(self, queue: _Queue) -> float:
        """Messages of a step at which a hot key is at its limit."""
        one = queue.consumer
        limits = [
            hot_groups_a_second(
                hot.share, hot.events_a_group, hot.units_a_write, hot.slots, queue.fleet.running
            )
            for hot in one.hot_keys
        ]
        return min(limits, default=float("inf")) * one.messages_a_group * self._step

    def _settle(self, number: int, meter: _Meter, queue: _Queue, end: float) -> None:
        """The metric counts what waits and what is held."""
        load = (queue.waiting + float(queue.trace.held[number])) / queue.consumer.backlog_per_task
        meter.add(load, lambda right: queue.fleet.report(end, right))


def _note(trace: Trace, number: int, values: tuple[float, float, float, float], fleet: Fleet) -> None:
    trace.came[number], trace.done[number], trace.backlog[number], trace.refused[number] = values
    trace.running[number], trace.ordered[number] = fleet.running, fleet.ordered


def _needs(one: Consumer) -> dict[str, float]:
    names = {*one.write_units, *one.read_units}
    return {name: load(one.write_units.get(name, 0.0), one.read_units.get(name, 0.0)) for name in names}
