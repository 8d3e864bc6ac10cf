"""What a deployment costs in a month: what it has, and what its events cause, at list prices. Pure.

The events' part is that of `kinstream plan`, day after day, so tasks are paid whether there is work or not.
Beside it: what stays in the ledger, what firewall, endpoints and logs take of requests, and all that stands
there.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec

from benchmarks.cost_model import MILLION, lambda_cost
from benchmarks.deployed import Deployed, Tasks
from kinstream.errors import PermanentError
from kinstream_devkit.plan.domain import curve
from kinstream_devkit.plan.domain.assumptions import Assumptions
from kinstream_devkit.plan.domain.costs import dollars
from kinstream_devkit.plan.domain.deployment import API, WORKER, deployment
from kinstream_devkit.plan.domain.simulation import after, simulate

DAYS_A_MONTH = 365 / 12
HOURS_A_MONTH = 730
PEAK_FACTOR = 2.5
_STEP_SECONDS = 60.0
_AT = curve.times(_STEP_SECONDS)
_GB = 1e9

LEDGER_BYTES_AN_EVENT = 75
"""57 as `python -m benchmarks.plan_rates` measures it by the plan's mix, and DynamoDB's 100 for each item."""
LEDGER_DAYS = 35 + 14
"""How long it is kept: its retention, and the longest that a message may lie in a queue."""
ACCESS_LOG_EVERY = 100
ACCESS_LOG_BYTES = 300
"""Of the requests that send, one in so many has a line; what ingest-api does by itself."""
LOG_GB_A_TASK = 0.2
"""Assumed: other lines of a task, and what Container Insights writes of it, two lines of 1 KB a minute."""
FLOW_LOG_GB = 1.0
"""Assumed: what the VPC refuses."""
IMAGE_GB_A_REPOSITORY = 1.0
"""Assumed: layers of the 50 images that are kept, most of which share all but the last."""
INSIGHTS_METRICS = {"cluster": 8, "service": 11, "task definition": 6}
DISK_GB_FREE = 20
"""Of each task's."""
COUNTING_WRITE_UNITS = 7.606
"""Of one event counted in a transaction of its own: the peer of the row write-units, README."""
_LAMBDA = {"milliseconds": 10.0, "memory_gb": 0.125}


@dataclass(frozen=True, slots=True)
class Load:
    """Events of a month, and how many come together."""

    events: float
    together: int
    """In a request of a sender, and in a message: both alike."""


@dataclass(frozen=True, slots=True)
class Month:
    """US dollars by line."""

    of_events: Mapping[str, float]
    """What events cause, and the tasks that wait for them."""
    standing: Mapping[str, float]

    @property
    def lines(self) -> dict[str, float]:
        """All of them."""
        return {**self.of_events, **self.standing}


def month(
    load: Load,
    environment: str,
    deployed: Deployed,
    *,
    given: Assumptions,
    handles: Mapping[str, Collection[str] | None],
    prices: Mapping[str, float],
) -> Month:
    """What it costs. PermanentError where a price is missing."""
    try:
        sized = _sized(given, deployed, load)
        return Month(_of_events(load, environment, sized, handles, prices), _standing(deployed, prices))
    except KeyError as error:
        raise PermanentError(f"there is no price {error}; add it to benchmarks/prices.json") from error


def month_of_lambda(load: Load, prices: Mapping[str, float], write_units_an_event: float) -> float:
    """US dollars a month for one invocation an event."""
    million = lambda_cost(prices, write_units_an_event=write_units_an_event, **_LAMBDA)
    return sum(million.values()) * load.events / MILLION


def _sized(given: Assumptions, deployed: Deployed, load: Load) -> Assumptions:
    """With the tasks that are deployed, and this load's messages."""
    api = deployed.tasks[API]
    worker = next(tasks for name, tasks in deployed.tasks.items() if name.startswith(WORKER))
    replace = msgspec.structs.replace
    return replace(
        given,
        api=replace(given.api, vcpu=api.vcpu, memory_gb=api.memory_gb),
        worker=replace(given.worker, vcpu=worker.vcpu, memory_gb=worker.memory_gb),
        traffic=replace(given.traffic, events_a_request=load.together, events_a_message=load.together),
    )


def _of_events(
    load: Load,
    environment: str,
    given: Assumptions,
    handles: Mapping[str, Collection[str] | None],
    prices: Mapping[str, float],
) -> dict[str, float]:
    planned = deployment(given, handles, environment)
    rates = curve.daily(
        _AT,
        events_a_day=load.events / DAYS_A_MONTH,
        peak_factor=PEAK_FACTOR,
        peak_at_seconds=20 * 3_600,
    )
    day = simulate(rates, _STEP_SECONDS, planned, after(simulate(rates, _STEP_SECONDS, planned)))
    plan = {
        charge: float(steps.sum()) * DAYS_A_MONTH
        for charge, steps in dollars(day, planned, given, prices).items()
    }
    requests = load.events / load.together
    # Once to SNS, and once from each queue that gets it.
    gigabytes = (
        load.events
        * given.traffic.event_bytes
        / _GB
        * (1 + sum(c.messages_a_chunk for c in planned.consumers))
    )
    kept_gb = load.events * LEDGER_BYTES_AN_EVENT / _GB * LEDGER_DAYS / DAYS_A_MONTH
    return {
        "DynamoDB, writing and reading": plan["DynamoDB writes"] + plan["DynamoDB reads"],
        f"DynamoDB, the ledger of {LEDGER_DAYS} days": kept_gb
        * (prices["dynamodb_gb_month"] + prices["dynamodb_recovery_gb_month"]),
        "SNS, SQS": plan["SNS"] + plan["SQS"],
        "ingest-api and processors (Fargate)": plan["Fargate, ingest-api"] + plan["Fargate, processors"],
        "load balancer": plan["load balancer"],
        "firewall, by request": requests * prices["web_acl_request"],
        "endpoints, by GB": gigabytes * prices["vpc_endpoint_gb"],
        "archive of one month (S3)": plan["S3"],
        "access log": requests / ACCESS_LOG_EVERY * ACCESS_LOG_BYTES / _GB * _log_gb(prices),
    }


def _standing(deployed: Deployed, prices: Mapping[str, float]) -> dict[str, float]:
    apart = {name: tasks for name, tasks in deployed.tasks.items() if not _is_planned(name)}
    standby = "_multi_az" if deployed.database_has_standby else ""
    return {
        "media-workers and recommender-trigger, the fewest (Fargate)": HOURS_A_MONTH
        * sum(_task_hour(tasks, prices) for tasks in apart.values()),
        "disks of tasks": HOURS_A_MONTH
        * prices["fargate_disk_gb_hour"]
        * sum(_disk_gb(tasks) for tasks in deployed.tasks.values()),
        "endpoints, by hour": HOURS_A_MONTH * deployed.endpoint_zones * prices["vpc_endpoint_hour"],
        "public addresses": HOURS_A_MONTH * deployed.balancer_zones * prices["public_ipv4_hour"],
        "database": HOURS_A_MONTH * prices[f"rds_{deployed.database}{standby}_hour"]
        + deployed.database_gb * prices[f"rds_storage{standby}_gb_month"],
        "cache": HOURS_A_MONTH * deployed.cache_nodes * prices[f"elasticache_{deployed.cache}_hour"],
        "firewall": deployed.firewalls * prices["web_acl_month"]
        + deployed.firewall_rules * prices["web_acl_rule_month"],
        "Container Insights": _insights_metrics(deployed) * prices["custom_metric_month"],
        "alarms and dashboard": deployed.alarm_metrics * prices["alarm_metric_month"]
        + deployed.composite_alarms * prices["composite_alarm_month"]
        + deployed.dashboards * prices["dashboard_month"],
        "logs": (_count(deployed) * LOG_GB_A_TASK + FLOW_LOG_GB) * _log_gb(prices),
        "secrets, images": deployed.secrets * prices["secret_month"]
        + deployed.repositories * IMAGE_GB_A_REPOSITORY * prices["ecr_gb_month"],
    }


def _is_planned(service: str) -> bool:
    return service == API or service.startswith(WORKER)


def _task_hour(tasks: Tasks, prices: Mapping[str, float]) -> float:
    """Of all tasks of a service."""
    return sum(
        count * (tasks.vcpu * prices[f"{kind}_vcpu_hour"] + tasks.memory_gb * prices[f"{kind}_gb_hour"])
        for kind, count in (("fargate", tasks.on_demand), ("fargate_spot", tasks.spot))
    )


def _disk_gb(tasks: Tasks) -> float:
    return (tasks.on_demand + tasks.spot) * max(0.0, tasks.disk_gb - DISK_GB_FREE)


def _count(deployed: Deployed) -> float:
    return sum(tasks.on_demand + tasks.spot for tasks in deployed.tasks.values())


def _insights_metrics(deployed: Deployed) -> int:
    """Of services that run."""
    running = sum(tasks.on_demand + tasks.spot > 0 for tasks in deployed.tasks.values())
    of_one = INSIGHTS_METRICS["service"] + INSIGHTS_METRICS["task definition"]
    return (INSIGHTS_METRICS["cluster"] + running * of_one) * deployed.insights


def _log_gb(prices: Mapping[str, float]) -> float:
    """Taken in, and kept for about a month."""
    return prices["logs_gb"] + prices["logs_gb_month"]
