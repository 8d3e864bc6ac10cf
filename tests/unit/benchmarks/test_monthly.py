"""The cost table: against sums done by hand and the page that has it; no price is without its source."""

import json
import re
from typing import Any

import msgspec
import pytest

from benchmarks import monthly
from benchmarks.deployed import Deployed, Tasks, counted
from benchmarks.monthly_model import HOURS_A_MONTH, Load, month
from kinstream.errors import PermanentError
from kinstream_devkit.plan.files import read_assumptions, read_handles, read_prices
from tests.support.repository import ROOT

SMALL = Deployed(
    tasks={
        "ingest-api": Tasks(on_demand=2, spot=0, vcpu=1, memory_gb=2, disk_gb=21),
        "media-worker": Tasks(on_demand=1, spot=2, vcpu=2, memory_gb=4, disk_gb=40),
        "session-worker-content": Tasks(on_demand=1, spot=0, vcpu=0.5, memory_gb=1, disk_gb=21),
        "media-worker-large": Tasks(on_demand=0, spot=0, vcpu=2, memory_gb=4, disk_gb=40),
    },
    endpoint_zones=6,
    balancer_zones=2,
    firewalls=1,
    firewall_rules=3,
    database="db.t4g.micro",
    database_has_standby=False,
    database_gb=20,
    cache="cache.t4g.micro",
    cache_nodes=1,
    alarm_metrics=10,
    composite_alarms=2,
    dashboards=1,
    secrets=4,
    repositories=4,
    insights=True,
)
PRICES = read_prices(monthly.PRICES).prices
BILLION = Load(1e9, 20)


def costs(deployed: Deployed = SMALL, load: Load = BILLION, prices: Any = PRICES):
    given, handles = read_assumptions(), read_handles(monthly.INFRASTRUCTURE / "processors.json")
    return month(load, "prod", deployed, given=given, handles=handles, prices=prices)


def test_the_page_has_the_table_that_is_computed():
    page = (ROOT / "docs/operations.md").read_text()
    assert monthly.table() in page, "put what `python -m benchmarks.monthly` prints into docs/operations.md"


def test_what_stands_there_is_its_number_times_its_price():
    found = costs().standing
    media = 2 * 0.04048 + 4 * 0.004445
    assert found["media-workers and recommender-trigger, the fewest (Fargate)"] == pytest.approx(
        730 * 2 * media
    )
    assert found["disks of tasks"] == pytest.approx(730 * (2 * 1 + 1 + 3 * 20) * 0.000111)
    assert found["endpoints, by hour"] == pytest.approx(730 * 6 * 0.01)
    assert found["database"] == pytest.approx(730 * 0.016 + 20 * 0.115)
    assert found["cache"] == pytest.approx(730 * 0.016)
    assert found["firewall"] == 5 + 3
    # Of the four services three run.
    assert found["Container Insights"] == pytest.approx((8 + 3 * 17) * 0.30)
    assert found["alarms and dashboard"] == pytest.approx(10 * 0.1 + 2 * 0.5 + 3)
    assert HOURS_A_MONTH == 730


def test_a_standby_and_no_container_insights_are_priced_as_such():
    other = msgspec.structs.replace(
        SMALL, database="db.t4g.medium", database_has_standby=True, insights=False
    )
    found = costs(other).standing
    assert found["database"] == pytest.approx(730 * 0.13 + 20 * 0.23)
    assert found["Container Insights"] == 0


def test_requests_and_bytes_of_events_are_paid_at_the_firewall_and_at_the_endpoints():
    found = costs(load=BILLION).of_events
    assert found["firewall, by request"] == pytest.approx(50e6 * 0.6e-6)
    # To SNS, to the two processors of everything, and nearly all chunks to the two others.
    assert 4 * 500 * 0.01 < found["endpoints, by GB"] < 5 * 500 * 0.01
    assert found["DynamoDB, the ledger of 49 days"] == pytest.approx(75 * 49 / (365 / 12) * 0.45)


def test_tasks_that_wait_for_events_are_paid_by_the_size_that_is_deployed():
    half = Tasks(on_demand=2, spot=0, vcpu=0.5, memory_gb=1, disk_gb=21)
    smaller = msgspec.structs.replace(SMALL, tasks=SMALL.tasks | {"ingest-api": half})
    line = "ingest-api and processors (Fargate)"
    saved = costs().of_events[line] - costs(smaller).of_events[line]
    # Three tasks, the fewest of prod.
    assert saved == pytest.approx(730 * 3 * (0.5 * 0.04048 + 0.004445), rel=1e-3)


def test_ten_times_the_events_cause_ten_times_what_is_paid_by_event():
    one, ten = (costs(load=Load(events, 20)).of_events for events in (1e8, 1e9))
    for line in ("DynamoDB, writing and reading", "firewall, by request", "endpoints, by GB", "access log"):
        assert ten[line] == pytest.approx(10 * one[line], rel=1e-3)


def test_a_missing_price_is_named():
    with pytest.raises(
        PermanentError, match=r"no price 'rds_db\.r6g\.large_hour'; add it to benchmarks/prices"
    ):
        costs(msgspec.structs.replace(SMALL, database="db.r6g.large"))


def test_of_each_price_it_is_said_what_it_is_for_and_where_it_was_seen():
    told = json.loads(monthly.PRICES.read_text())
    assert set(told["sources"]) == set(told["prices"])
    for source in told["sources"].values():
        assert set(source) == {"for_a", "page", "seen"}
        assert source["page"].startswith("https://aws.amazon.com/")
        assert re.match(r"20\d\d-\d\d|assumed", source["seen"])


def test_what_costs_is_counted_as_aws_bills_it():
    found = counted(PLANNED)
    assert found.tasks == {"worker": Tasks(on_demand=1.6, spot=1.4, vcpu=0.5, memory_gb=1, disk_gb=21)}
    # The gateway's is free; the other counts in each of its zones.
    assert found.endpoint_zones == 2
    # A plain alarm; one of two metrics and what is made of them; two that tracking makes of two metrics each.
    assert found.alarm_metrics == 1 + 2 + 2 * 2
    # The one that is there, and the one that RDS makes.
    assert found.secrets == 2


def test_a_kind_of_which_nobody_has_said_what_it_costs_is_refused():
    with pytest.raises(PermanentError, match="nobody has said what aws_nat_gateway costs"):
        counted([*PLANNED, ("aws_nat_gateway", {})])


def _queried(metric: bool) -> dict[str, Any]:
    return {"metric": [{"metric_name": "x"}] if metric else []}


PLANNED: list[tuple[str, dict[str, Any]]] = [
    ("aws_vpc", {}),
    ("aws_ecs_cluster", {"name": "kin", "setting": [{"name": "containerInsights", "value": "enabled"}]}),
    (
        "aws_ecs_task_definition",
        {"family": "kin-migrate", "cpu": "256", "memory": "512", "ephemeral_storage": []},
    ),
    (
        "aws_ecs_task_definition",
        {"family": "kin-worker", "cpu": "512", "memory": "1024", "ephemeral_storage": [{"size_in_gib": 21}]},
    ),
    (
        "aws_ecs_service",
        {
            "name": "worker",
            "capacity_provider_strategy": [
                {"capacity_provider": "FARGATE", "base": 1, "weight": 30},
                {"capacity_provider": "FARGATE_SPOT", "base": None, "weight": 70},
            ],
        },
    ),
    ("aws_appautoscaling_target", {"resource_id": "service/kin/worker", "min_capacity": 3}),
    (
        "aws_appautoscaling_policy",
        {
            "policy_type": "TargetTrackingScaling",
            "target_tracking_scaling_policy_configuration": [
                {
                    "metric_name": None,
                    "metrics": [{"metric_name": "a"}, {"metric_name": "b"}, {"expression": "a / b"}],
                }
            ],
        },
    ),
    (
        "aws_appautoscaling_policy",
        {"policy_type": "StepScaling", "target_tracking_scaling_policy_configuration": []},
    ),
    ("aws_cloudwatch_metric_alarm", {"metric_query": []}),
    ("aws_cloudwatch_metric_alarm", {"metric_query": [_queried(True), _queried(True), _queried(False)]}),
    ("aws_cloudwatch_composite_alarm", {}),
    ("aws_cloudwatch_dashboard", {}),
    ("aws_vpc_endpoint", {"vpc_endpoint_type": "Gateway", "subnet_ids": None}),
    ("aws_vpc_endpoint", {"vpc_endpoint_type": "Interface", "subnet_ids": [None, None]}),
    ("aws_lb", {"subnets": [None, None]}),
    ("aws_wafv2_web_acl", {"rule": [{}, {}, {}]}),
    (
        "aws_db_instance",
        {
            "instance_class": "db.t4g.micro",
            "multi_az": False,
            "allocated_storage": 20,
            "manage_master_user_password": True,
        },
    ),
    ("aws_elasticache_replication_group", {"node_type": "cache.t4g.micro", "num_cache_clusters": 1}),
    ("aws_secretsmanager_secret", {}),
    ("aws_ecr_repository", {}),
]
