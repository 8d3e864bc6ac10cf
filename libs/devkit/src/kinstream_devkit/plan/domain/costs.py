"""What a simulated day costs, step by step, at list prices. Pure.

The same rules as benchmarks/cost_model.py, but for tasks that run whether there is work or not.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from kinstream_devkit.plan.domain.assumptions import Assumptions
from kinstream_devkit.plan.domain.curve import Floats
from kinstream_devkit.plan.domain.deployment import API, Consumer, Deployment
from kinstream_devkit.plan.domain.simulation import Day, Trace

NEEDED_PRICES = (
    *("sns_request", "sqs_request", "dynamodb_write_unit", "dynamodb_read_unit"),
    *("fargate_vcpu_hour", "fargate_gb_hour", "fargate_spot_vcpu_hour", "fargate_spot_gb_hour"),
    *("s3_put", "s3_gb_month", "alb_hour", "alb_lcu_hour"),
)
_HOUR_SECONDS = 3_600
_BILLED_BYTES = 64 * 1024
"""SNS and SQS bill each started 64 KB."""


@dataclass(frozen=True, slots=True)
class _Day:
    day: Day
    deployed: Deployment
    given: Assumptions
    prices: Mapping[str, float]

    @property
    def hours(self) -> float:
        return self.day.step_seconds / _HOUR_SECONDS

    @property
    def pieces(self) -> int:
        return math.ceil(self.given.traffic.event_bytes * self.given.traffic.events_a_message / _BILLED_BYTES)


def dollars(
    day: Day, deployed: Deployment, given: Assumptions, prices: Mapping[str, float]
) -> dict[str, Floats]:
    """US dollars of each step by charge; `prices` has all NEEDED_PRICES."""
    of = _Day(day, deployed, given, prices)
    messages = {name: trace for name, trace in day.traces.items() if name != API}
    consumers = {one.name: one for one in deployed.consumers}
    accepted = day.traces[API].done
    writes, reads = _units(consumers, messages)
    steps = len(accepted)
    return {
        "load balancer": _load_balancer(of, accepted),
        "SNS": accepted / given.traffic.events_a_message * of.pieces * prices["sns_request"],
        "SQS": sum((_sqs(of, consumers[n], t) for n, t in messages.items()), np.zeros(steps)),
        "DynamoDB writes": writes * prices["dynamodb_write_unit"],
        "DynamoDB reads": reads * prices["dynamodb_read_unit"],
        "Fargate, ingest-api": _fargate(of, API, given.api.vcpu, given.api.memory_gb),
        "Fargate, processors": sum(
            (_fargate(of, name, given.worker.vcpu, given.worker.memory_gb) for name in messages),
            np.zeros(steps),
        ),
        "S3": sum((_s3(of, consumers[n], t) for n, t in messages.items()), np.zeros(steps)),
    }


def _load_balancer(of: _Day, accepted: Floats) -> Floats:
    """By the hour, and by capacity: 1 GB an hour, or 1,000 requests a second that follow a rule."""
    traffic, prices = of.given.traffic, of.prices
    gigabytes = accepted * traffic.event_bytes / 1e9
    requests_a_second = accepted / of.day.step_seconds / traffic.events_a_request
    used = np.maximum(gigabytes, of.hours * requests_a_second / 1_000)
    cost: Floats = of.hours * prices["alb_hour"] + used * prices["alb_lcu_hour"]
    return cost


def _sqs(of: _Day, one: Consumer, trace: Trace) -> Floats:
    """Sends; receives and deletes of as many messages as came while a consumer was busy; and idle polls."""
    consumers = np.maximum(trace.running * one.groups_at_once, 1e-9)
    in_time = trace.came / of.day.step_seconds * one.group_seconds / consumers
    together = np.clip(np.where(trace.backlog > 0, one.messages_a_group, in_time), 1, one.messages_a_group)
    groups = trace.done / together
    idle_seconds = np.maximum(0, consumers * of.day.step_seconds - groups * one.group_seconds)
    polls = np.minimum(idle_seconds / of.given.worker.poll_seconds, consumers * of.day.step_seconds)
    cost: Floats = (trace.came * of.pieces + 2 * groups + polls) * of.prices["sqs_request"]
    return cost


def _fargate(of: _Day, name: str, vcpu: float, memory_gb: float) -> Floats:
    """A task is paid from its order on. Neither the first of a service nor any of ingest-api is on Spot."""
    limits = of.deployed.api.limits
    share = 0.0
    if name != API:
        limits = next(one.limits for one in of.deployed.consumers if one.name == name)
        share = of.deployed.spot_share
    tasks = of.day.traces[name].ordered
    spot = np.maximum(0, tasks - min(1, limits.min_tasks)) * share
    cost: Floats = of.hours * ((tasks - spot) * _hourly(of, "fargate", vcpu, memory_gb)) + of.hours * (
        spot * _hourly(of, "fargate_spot", vcpu, memory_gb)
    )
    return cost


def _hourly(of: _Day, kind: str, vcpu: float, memory_gb: float) -> float:
    return vcpu * of.prices[f"{kind}_vcpu_hour"] + memory_gb * of.prices[f"{kind}_gb_hour"]


def _s3(of: _Day, one: Consumer, trace: Trace) -> Floats:
    """Files of a processor that writes some, and one month of keeping what is in them."""
    if not one.files_an_hour_a_task:
        return np.zeros(len(trace.done))
    files = trace.running * one.files_an_hour_a_task * of.hours
    gigabytes = trace.done * one.events_a_message * of.given.traffic.archive_bytes_an_event / 1e9
    cost: Floats = files * of.prices["s3_put"] + gigabytes * of.prices["s3_gb_month"]
    return cost


def _units(consumers: Mapping[str, Consumer], traces: Mapping[str, Trace]) -> tuple[Floats, Floats]:
    """(write units, read units) of each step."""
    steps = len(next(iter(traces.values())).done) if traces else 0
    writes, reads = np.zeros(steps), np.zeros(steps)
    for name, trace in traces.items():
        writes += trace.done * sum(consumers[name].write_units.values())
        reads += trace.done * sum(consumers[name].read_units.values())
    return writes, reads
