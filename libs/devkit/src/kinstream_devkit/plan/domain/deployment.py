"""Assumptions and processors as the simulation wants them: stations with rates, needs and limits. Pure."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

from kinstream.errors import PermanentError
from kinstream_devkit.plan.domain.assumptions import Assumptions, Environment, Processor, Scaling
from kinstream_devkit.plan.domain.fleet import Delays, Limits
from kinstream_devkit.plan.domain.tables import hottest_share

API = "ingest-api"
WORKER = "session-worker"
_MILLION = 1e6


@dataclass(frozen=True, slots=True)
class HotKey:
    """The hottest key of a table, as one processor writes it."""

    share: float
    events_a_group: float
    units_a_write: float
    slots: int


@dataclass(frozen=True, slots=True)
class Api:
    """ingest-api: what flows through it are events."""

    events_a_second: float
    """One task's, at all of its CPU."""
    cpu_target: float
    """Share of the CPU that scaling aims at."""
    limits: Limits


@dataclass(frozen=True, slots=True)
class Consumer:
    """One processor with its queue: what flows through it are messages."""

    name: str
    messages_a_chunk: float
    """Share of the chunks that its filter lets through."""
    events_a_message: float
    """Of those in a message, how many it handles."""
    messages_a_second: float
    """One task's."""
    group_seconds: float
    groups_at_once: int
    messages_a_group: float
    backlog_per_task: float
    """Messages, that scaling aims at."""
    limits: Limits
    write_units: Mapping[str, float]
    """By table, a message."""
    read_units: Mapping[str, float]
    hot_keys: tuple[HotKey, ...]
    files_an_hour_a_task: float


@dataclass(frozen=True, slots=True)
class Deployment:
    """What is simulated."""

    events_a_message: float
    api: Api
    consumers: tuple[Consumer, ...]
    delays: Delays
    spot_share: float

    @property
    def tables(self) -> list[str]:
        """Those that are written or read."""
        names = (name for one in self.consumers for name in (*one.write_units, *one.read_units))
        return sorted(set(names))


def deployment(
    given: Assumptions, handles: Mapping[str, Collection[str] | None], environment: str
) -> Deployment:
    """The deployment; `handles` are the types of each processor, None for all.

    PermanentError names what is missing.
    """
    if environment not in given.environments:
        raise PermanentError(
            f"there is no environment {environment}; there are {', '.join(given.environments)}"
        )
    chosen = given.environments[environment]
    known = {API, WORKER, *(f"{WORKER}-{name}" for name in handles)}
    if unknown := set(chosen.scaling) - known:
        raise PermanentError(f"scaling names {min(unknown)}; there are {', '.join(sorted(known))}")
    for name in handles:
        if name not in given.processors:
            raise PermanentError(
                f"nothing is known of the processor {name}; measure it (python -m benchmarks.plan_rates), "
                f"and give a file with [processors.{name}] by --rates"
            )
    return Deployment(
        events_a_message=given.traffic.events_a_message,
        api=_api(given, chosen),
        consumers=tuple(_consumer(given, chosen, name, types) for name, types in sorted(handles.items())),
        delays=Delays(**msgspec.structs.asdict(given.aws)),
        spot_share=chosen.spot_share,
    )


def _api(given: Assumptions, environment: Environment) -> Api:
    scaling = _scaling(environment, API, API)
    cpu_us = given.api.cpu_us_an_event + given.api.cpu_us_a_request / given.traffic.events_a_request
    return Api(
        # One process, which has one core whatever the size of the task.
        events_a_second=given.api.events_a_second or min(1.0, given.api.vcpu) / cpu_us * _MILLION,
        cpu_target=scaling.cpu_percent / 100,
        limits=_limits(scaling),
    )


def _consumer(
    given: Assumptions, environment: Environment, name: str, types: Collection[str] | None
) -> Consumer:
    processor, chunk = given.processors[name], given.traffic.events_a_message
    share = 1.0 if types is None else min(1.0, sum(given.traffic.mix.get(kind, 0.0) for kind in types))
    through = 1 - (1 - share) ** chunk
    events = chunk * share / through if through else chunk
    group_seconds, messages_a_second = _pace(given, processor, events)
    scaling = _scaling(environment, f"{WORKER}-{name}", WORKER)
    return Consumer(
        name=name,
        messages_a_chunk=through,
        events_a_message=events,
        messages_a_second=messages_a_second,
        group_seconds=group_seconds,
        groups_at_once=processor.groups_at_once,
        messages_a_group=given.worker.messages_a_group,
        backlog_per_task=max(1, math.floor(scaling.max_delay_seconds / scaling.seconds_per_message)),
        limits=_limits(scaling),
        write_units={table: units * events / 1000 for table, units in processor.write_units_per_1000.items()},
        read_units={table: units * events / 1000 for table, units in processor.read_units_per_1000.items()},
        hot_keys=tuple(
            HotKey(
                hottest_share(hot.keys, hot.zipf),
                events * given.worker.messages_a_group,
                hot.units_a_write,
                hot.slots,
            )
            for hot in processor.hot_keys
        ),
        files_an_hour_a_task=processor.files_an_hour_a_task,
    )


def _pace(given: Assumptions, processor: Processor, events_a_message: float) -> tuple[float, float]:
    """(seconds of a full group, messages a second of one task).

    A task has a few groups under way at once, which wait for AWS together but share its CPU; a process has
    one core at most.
    """
    worker = given.worker
    messages, core = worker.messages_a_group, min(1.0, worker.vcpu)
    cpu_us = worker.cpu_us_a_group + messages * events_a_message * processor.cpu_us_an_event
    cpu_seconds = cpu_us / _MILLION / core
    wait_ms = worker.wait_ms_a_group if processor.wait_ms_a_group is None else processor.wait_ms_a_group
    seconds = cpu_seconds + wait_ms / 1000
    if processor.events_a_second:
        return seconds, processor.events_a_second / events_a_message
    return seconds, messages * min(1 / cpu_seconds, processor.groups_at_once / seconds)


def _limits(scaling: Scaling) -> Limits:
    return Limits(scaling.min_tasks, scaling.max_tasks, scaling.out_after_seconds, scaling.in_after_seconds)


def _scaling(environment: Environment, service: str, kind: str) -> Scaling:
    try:
        return environment.scaling_of(service, kind)
    except msgspec.ValidationError as error:
        raise PermanentError(f"scaling of {service}: {error}") from error
