"""What a plan reckons with: everything that a file may say, with its bounds. Pure."""

from typing import Annotated

import msgspec

_MOST = 1e12
"""More than anything here can be; infinity is no figure."""
Positive = Annotated[float, msgspec.Meta(gt=0, le=_MOST)]
NotNegative = Annotated[float, msgspec.Meta(ge=0, le=_MOST)]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Tasks = Annotated[int, msgspec.Meta(ge=0, le=100_000)]
AtLeastOne = Annotated[float, msgspec.Meta(ge=1, le=_MOST)]


class Given(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A misspelt name is an error and no silence."""


class Traffic(Given, frozen=True):
    """What the events are like."""

    events_a_request: AtLeastOne
    events_a_message: AtLeastOne
    """In one SNS message, a chunk."""
    event_bytes: Positive
    archive_bytes_an_event: NotNegative
    mix: dict[str, Share]
    """Share of the events by type; together 1."""


class Api(Given, frozen=True):
    """A task of ingest-api."""

    cpu_us_a_request: NotNegative
    cpu_us_an_event: Positive
    vcpu: Positive
    memory_gb: Positive
    events_a_second: Positive | None = None
    """Of one task, in place of what its CPU comes to."""


class Worker(Given, frozen=True):
    """A task of session-worker, whatever its processor."""

    vcpu: Positive
    memory_gb: Positive
    messages_a_group: AtLeastOne
    cpu_us_a_group: NotNegative
    wait_ms_a_group: NotNegative
    """What a group waits for AWS, one call after the other."""
    poll_seconds: Positive


class HotKeys(Given, frozen=True):
    """Keys of a table of which some are written much more often than others."""

    table: str
    keys: Annotated[int, msgspec.Meta(ge=1, le=10_000_000)]
    zipf: Annotated[float, msgspec.Meta(ge=0, le=5)]
    units_a_write: Positive
    slots: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1


class Processor(Given, frozen=True):
    """What one processor needs for an event that it handles."""

    cpu_us_an_event: Positive
    groups_at_once: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 2
    wait_ms_a_group: NotNegative | None = None
    """In place of the worker's."""
    files_an_hour_a_task: NotNegative = 0
    write_units_per_1000: dict[str, NotNegative] = {}
    read_units_per_1000: dict[str, NotNegative] = {}
    hot_keys: list[HotKeys] = []
    events_a_second: Positive | None = None
    """Of one task, in place of what CPU and waiting come to."""

    def __post_init__(self) -> None:
        for hot in self.hot_keys:
            if hot.table not in self.write_units_per_1000:
                raise ValueError(f"hot_keys names the table {hot.table}, which write_units_per_1000 does not")


class Aws(Given, frozen=True):
    """How AWS scales; the fields are those of `fleet.Delays`."""

    period_seconds: Annotated[float, msgspec.Meta(ge=60, le=300, multiple_of=60)]
    metric_delay_seconds: NotNegative
    out_periods: Annotated[int, msgspec.Meta(ge=1, le=60)]
    in_periods: Annotated[int, msgspec.Meta(ge=1, le=60)]
    in_below: Share
    task_start_seconds: NotNegative
    in_share: Annotated[float, msgspec.Meta(gt=0, le=1)]


class Scaling(Given, frozen=True):
    """The knobs of a service, by the names and with the defaults that Terraform has."""

    min_tasks: Tasks = 1
    max_tasks: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    seconds_per_message: Positive = 0.1
    max_delay_seconds: Positive = 30
    cpu_percent: Annotated[float, msgspec.Meta(gt=0, le=100)] = 50
    in_after_seconds: NotNegative = 300
    out_after_seconds: NotNegative = 30

    def __post_init__(self) -> None:
        if self.max_tasks < self.min_tasks:
            raise ValueError(f"max_tasks ({self.max_tasks}) must not be below min_tasks ({self.min_tasks})")


class Environment(Given, frozen=True):
    """A deployment's sizes. `scaling` is by service, and by session-worker-NAME before session-worker."""

    spot_share: Share
    scaling: dict[str, dict[str, float]]

    def scaling_of(self, service: str, kind: str) -> Scaling:
        """Of one service; msgspec.ValidationError where it makes no sense."""
        return msgspec.convert(
            {**self.scaling.get(kind, {}), **self.scaling.get(service, {})}, Scaling, strict=False
        )


class Assumptions(Given, frozen=True):
    """All of it."""

    traffic: Traffic
    api: Api
    worker: Worker
    processors: dict[str, Processor]
    aws: Aws
    environments: dict[str, Environment]

    def __post_init__(self) -> None:
        together = sum(self.traffic.mix.values())
        if abs(together - 1) > 1e-6:
            raise ValueError(f"the shares in traffic.mix must be 1 together, not {together:g}")
