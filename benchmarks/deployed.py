"""What a deployment has that costs money while nothing happens, counted from Terraform's plan. Pure."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from kinstream.errors import PermanentError

Resource = tuple[str, Mapping[str, Any]]
"""Its type, and its values as they are planned."""

FREE = frozenset(
    f"aws_{name}"
    for name in (
        *("appautoscaling_target", "budgets_budget", "cloudwatch_event_rule", "cloudwatch_event_target"),
        *("cloudwatch_log_group", "db_parameter_group", "db_subnet_group", "default_security_group"),
        *("dynamodb_table", "ecr_lifecycle_policy", "ecs_cluster_capacity_providers"),
        *("elasticache_subnet_group", "emr_security_configuration", "flow_log", "iam_instance_profile"),
        *("iam_role", "iam_role_policy", "iam_role_policy_attachment", "internet_gateway"),
        *("lb_listener", "lb_target_group", "route_table", "route_table_association", "s3_bucket"),
        *("s3_bucket_cors_configuration", "s3_bucket_lifecycle_configuration", "s3_bucket_notification"),
        *("s3_bucket_policy", "s3_bucket_public_access_block", "s3_bucket_versioning"),
        *("s3_bucket_server_side_encryption_configuration", "security_group", "sns_topic"),
        *("sns_topic_subscription", "sqs_queue", "sqs_queue_policy", "ssm_parameter", "subnet", "vpc"),
        *("vpc_security_group_egress_rule", "vpc_security_group_ingress_rule", "wafv2_web_acl_association"),
    )
)
"""Kinds that cost nothing by themselves; what goes through them or lies in them may."""


class Tasks(msgspec.Struct, frozen=True, order=True):
    """The fewest tasks of a service, and what each has."""

    on_demand: float
    spot: float
    vcpu: float
    memory_gb: float
    disk_gb: float


class Deployed(msgspec.Struct, frozen=True):
    """An environment."""

    tasks: dict[str, Tasks]
    """By ECS service, those with none as well."""
    endpoint_zones: int
    """Interface endpoints, each as often as it has zones."""
    balancer_zones: int
    """Each with a public address."""
    firewalls: int
    firewall_rules: int
    database: str
    database_has_standby: bool
    database_gb: int
    cache: str
    cache_nodes: int
    alarm_metrics: int
    """Metrics that alarms look at, with the alarms that AWS makes for target tracking."""
    composite_alarms: int
    dashboards: int
    secrets: int
    """With the one that RDS makes."""
    repositories: int
    insights: bool
    """Container Insights: metrics of each service."""


def counted(resources: Iterable[Resource]) -> Deployed:
    """What there is in a plan. PermanentError if there is a kind of which it is not known what it costs."""
    of: dict[str, list[Mapping[str, Any]]] = {}
    for kind, values in resources:
        of.setdefault(kind, []).append(values)
    if unknown := of.keys() - FREE - _COSTS:
        raise PermanentError(
            f"nobody has said what {', '.join(sorted(unknown))} costs: count it, or put it among FREE"
        )
    (database,), (cache,), (balancer,) = (
        of[kind] for kind in ("aws_db_instance", "aws_elasticache_replication_group", "aws_lb")
    )
    (cluster,) = of["aws_ecs_cluster"]
    return Deployed(
        tasks=_tasks(of),
        endpoint_zones=sum(
            len(endpoint["subnet_ids"])
            for endpoint in of["aws_vpc_endpoint"]
            if endpoint["vpc_endpoint_type"] == "Interface"
        ),
        balancer_zones=len(balancer["subnets"]),
        firewalls=len(of["aws_wafv2_web_acl"]),
        firewall_rules=sum(len(firewall["rule"]) for firewall in of["aws_wafv2_web_acl"]),
        database=database["instance_class"],
        database_has_standby=bool(database["multi_az"]),
        database_gb=database["allocated_storage"],
        cache=cache["node_type"],
        cache_nodes=cache["num_cache_clusters"],
        alarm_metrics=sum(map(_metrics_of_alarm, of["aws_cloudwatch_metric_alarm"]))
        + sum(map(_metrics_of_policy, of.get("aws_appautoscaling_policy", []))),
        composite_alarms=len(of["aws_cloudwatch_composite_alarm"]),
        dashboards=len(of["aws_cloudwatch_dashboard"]),
        secrets=len(of["aws_secretsmanager_secret"]) + bool(database["manage_master_user_password"]),
        repositories=len(of["aws_ecr_repository"]),
        insights={"name": "containerInsights", "value": "enabled"} in cluster["setting"],
    )


_COSTS = frozenset(
    f"aws_{name}"
    for name in (
        *("appautoscaling_policy", "cloudwatch_composite_alarm", "cloudwatch_dashboard"),
        *("cloudwatch_metric_alarm", "db_instance", "ecr_repository", "ecs_cluster", "ecs_service"),
        *("ecs_task_definition", "elasticache_replication_group", "lb", "secretsmanager_secret"),
        *("vpc_endpoint", "wafv2_web_acl"),
    )
)


def _tasks(of: Mapping[str, list[Mapping[str, Any]]]) -> dict[str, Tasks]:
    # A family is named by its service, behind the prefix that the cluster has.
    prefix = of["aws_ecs_cluster"][0]["name"]
    sizes = {task["family"].removeprefix(f"{prefix}-"): task for task in of["aws_ecs_task_definition"]}
    fewest = {
        target["resource_id"].rpartition("/")[2]: target["min_capacity"]
        for target in of["aws_appautoscaling_target"]
    }
    found = {}
    for service in of["aws_ecs_service"]:
        size, count = sizes[service["name"]], fewest[service["name"]]
        strategies = {one["capacity_provider"]: one for one in service["capacity_provider_strategy"]}
        base = min(count, strategies["FARGATE"]["base"] or 0)
        spot_weight = strategies.get("FARGATE_SPOT", {"weight": 0})["weight"]
        spot = (count - base) * spot_weight / (strategies["FARGATE"]["weight"] + spot_weight)
        found[service["name"]] = Tasks(
            on_demand=round(count - spot, 2),
            spot=round(spot, 2),
            vcpu=int(size["cpu"]) / 1024,
            memory_gb=int(size["memory"]) / 1024,
            disk_gb=size["ephemeral_storage"][0]["size_in_gib"],
        )
    return dict(sorted(found.items()))


def _metrics_of_alarm(alarm: Mapping[str, Any]) -> int:
    """An alarm costs by the metrics that it looks at; what it makes of them is free."""
    queries = [query for query in alarm.get("metric_query") or [] if query["metric"]]
    return len(queries) or 1


def _metrics_of_policy(policy: Mapping[str, Any]) -> int:
    """Target tracking makes two alarms, one for out and one for in."""
    text = json.dumps(policy["target_tracking_scaling_policy_configuration"])
    tracked = policy["policy_type"] == "TargetTrackingScaling"
    return 2 * max(1, text.count('"metric_name": "')) if tracked else 0
