"""Terraform makes what the embedded stack makes: the same names, the same shapes."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from ingest_api.settings import IngestSettings
from kinstream.resources import DEAD_LETTER_SUFFIX, Names, Resources, Table, describe
from kinstream.settings import CoreSettings
from kinstream_devkit.processors import processor_queues
from media_worker.settings import MediaWorkerSettings
from recommender_trigger.domain.attempts import name_prefix
from recommender_trigger.settings import TriggerSettings
from session_worker.compaction.compactor import CompactionSettings
from session_worker.processors.activity import ActivitySettings
from session_worker.settings import WorkerSettings
from tests.infra.conftest import PLANNED_PREFIX
from tests.support.repository import ROOT
from tests.support.terraform import planned

Plan = Mapping[str, Any]

SETTINGS: Mapping[str, tuple[type[Any], ...]] = {
    "ingest-api": (IngestSettings,),
    "session-worker": (WorkerSettings, ActivitySettings, CompactionSettings),
    "media-worker": (MediaWorkerSettings,),
    "recommender-trigger": (TriggerSettings,),
    "shared": (CoreSettings,),
}


LEFT_AS_THEY_ARE: Mapping[str, set[str]] = {
    "dev": {"log_retention_days"},
    # Of these two only an emulator has need.
    "prod": {"log_retention_days", "spot_share", "sizes", "image_registry", "lacks"},
}
"""Variables of modules/stack that an environment leaves at their defaults."""


@pytest.fixture(scope="session")
def described() -> Resources:
    """What the provisioner would make under the same prefix."""
    return describe(Names(PLANNED_PREFIX), processor_queues())


def test_tables_have_the_provisioners_keys_indexes_and_time_to_live(plan: Plan, described: Resources) -> None:
    found = {table["name"]: _table(table) for table in planned(plan, "aws_dynamodb_table")}
    assert found == {table.name: _wanted_table(table) for table in described.tables}


def test_queues_have_the_provisioners_timeouts_and_dead_letter_queues(
    plan: Plan, described: Resources
) -> None:
    found = {queue["name"]: queue for queue in planned(plan, "aws_sqs_queue")}
    wanted = {queue.name for queue in described.queues}
    assert set(found) == wanted | {name + DEAD_LETTER_SUFFIX for name in wanted}
    for queue in described.queues:
        assert found[queue.name]["visibility_timeout_seconds"] == queue.visibility_timeout_seconds
        assert found[queue.name]["message_retention_seconds"] == 14 * 86_400
        assert found[queue.name + DEAD_LETTER_SUFFIX]["message_retention_seconds"] == 14 * 86_400


def test_each_processor_subscribes_to_its_types_of_events_alone(plan: Plan) -> None:
    filters = sorted(
        subscription["filter_policy"] or ""
        for subscription in planned(plan, "aws_sns_topic_subscription")
        if subscription["protocol"] == "sqs"
    )
    wanted = sorted(
        "" if queue.handles is None else json.dumps({"types": list(queue.handles)}, separators=(",", ":"))
        for queue in processor_queues()
    )
    assert filters == wanted


def test_emr_tells_the_queue_of_this_deployments_attempts_alone(plan: Plan, described: Resources) -> None:
    (queue,) = (queue for queue in described.queues if queue.rules)
    rules = {
        rule["name"]: json.loads(rule["event_pattern"]) for rule in planned(plan, "aws_cloudwatch_event_rule")
    }
    assert set(rules) == set(queue.rules)
    ours = [{"prefix": name_prefix(PLANNED_PREFIX)}]
    assert [list(pattern["detail"].values()) for pattern in rules.values()] == [[ours], [ours]]
    assert {target["rule"] for target in planned(plan, "aws_cloudwatch_event_target")} == set(rules)
    for target in planned(plan, "aws_cloudwatch_event_target"):
        assert target["arn"].endswith(f":{queue.name}")


def test_topics_are_those_of_the_provisioner(plan: Plan, described: Resources) -> None:
    assert {topic["name"] for topic in planned(plan, "aws_sns_topic")} == set(described.topics)


def test_buckets_expire_as_those_of_the_provisioner(plan: Plan, described: Resources) -> None:
    assert {bucket["bucket"] for bucket in planned(plan, "aws_s3_bucket")} == {
        bucket.name for bucket in described.buckets
    }
    days = sorted(
        expiration["days"]
        for lifecycle in planned(plan, "aws_s3_bucket_lifecycle_configuration")
        for rule in lifecycle["rule"]
        for expiration in rule["expiration"]
    )
    assert days == sorted(bucket.expire_days for bucket in described.buckets if bucket.expire_days)


def test_every_processor_has_a_service_of_its_own(plan: Plan) -> None:
    services = {service["name"] for service in planned(plan, "aws_ecs_service")}
    assert services == {
        "ingest-api",
        "media-worker",
        "media-worker-large",
        "recommender-trigger",
        *(f"session-worker-{queue.name}" for queue in processor_queues()),
    }


def test_release_goes_back_when_an_alarm_of_its_own_service_rings(plan: Plan) -> None:
    alarms = {
        service["name"]: {name for block in service["alarms"] for name in block["alarm_names"]}
        for service in planned(plan, "aws_ecs_service")
    }
    assert alarms.pop("ingest-api") == {f"{PLANNED_PREFIX}-api-errors", f"{PLANNED_PREFIX}-api-unreachable"}
    assert alarms.pop("recommender-trigger") == set()
    queues = {
        "media-worker": ["uploads", "media"],
        "media-worker-large": ["media-large"],
        **{f"session-worker-{queue.name}": [f"processor-{queue.name}"] for queue in processor_queues()},
    }
    assert alarms == {
        service: {f"{PLANNED_PREFIX}-{queue}-dead-letters" for queue in its_queues}
        for service, its_queues in queues.items()
    }


def test_every_parameter_is_a_setting_of_the_service_that_reads_it(plan: Plan) -> None:
    for parameter in planned(plan, "aws_ssm_parameter"):
        _, _, service, name = parameter["name"].split("/")
        assert name in _variables(SETTINGS[service]), parameter["name"]


@pytest.mark.parametrize("environment", ["dev", "prod"])
def test_every_variable_of_the_stack_is_passed_on_or_fixed_by_its_environment(environment: str) -> None:
    terraform = ROOT / "infra/terraform"
    text = (terraform / "modules/stack/variables.tf").read_text()
    variables = set(re.findall(r'^variable "(\w+)"', text, flags=re.MULTILINE))
    passed = set(
        re.findall(r"^  (\w+) +=", (terraform / f"envs/{environment}/main.tf").read_text(), re.MULTILINE)
    )
    assert variables - passed <= LEFT_AS_THEY_ARE[environment]


def test_every_alarm_leads_to_an_entry_of_the_runbook(plan: Plan) -> None:
    headings = {
        _anchor(line.lstrip("# "))
        for line in (ROOT / "docs/operations.md").read_text().splitlines()
        if line.startswith("#")
    }
    kinds = ("aws_cloudwatch_metric_alarm", "aws_cloudwatch_composite_alarm")
    for alarm in (alarm for kind in kinds for alarm in planned(plan, kind)):
        if alarm["alarm_name"].endswith("-wake"):  # it acts by itself, and tells nobody
            continue
        found = re.search(r"docs/operations\.md#([a-z0-9-]+)", alarm["alarm_description"])
        assert found, alarm["alarm_name"]
        assert found[1] in headings, found[1]


def _table(table: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "key": (table["hash_key"], table["range_key"]),
        "kinds": {attribute["name"]: attribute["type"] for attribute in table["attribute"]},
        "indexes": {
            index["name"]: (index["hash_key"], index["range_key"], index["projection_type"])
            for index in table["global_secondary_index"]
        },
        "ttl": [ttl["attribute_name"] for ttl in table["ttl"] if ttl["enabled"]],
        "billing": table["billing_mode"],
    }


def _wanted_table(table: Table) -> dict[str, Any]:
    kinds = {"pk": "S", "sk": "S"}
    for index in table.indexes:
        kinds |= {index.partition: "S", index.sort: index.sort_kind}
    return {
        "key": ("pk", "sk"),
        "kinds": kinds,
        "indexes": {
            index.name: (index.partition, index.sort, "KEYS_ONLY" if index.keys_only else "ALL")
            for index in table.indexes
        },
        "ttl": ["expires_at"],
        "billing": "PAY_PER_REQUEST",
    }


def _variables(kinds: tuple[type[Any], ...]) -> set[str]:
    names = set()
    for kind in kinds:
        prefix: str = kind.model_config.get("env_prefix", "")
        for name, field in kind.model_fields.items():
            names.add(field.validation_alias or f"{prefix}{name}".upper())
    return names


def _anchor(heading: str) -> str:
    keep: Callable[[str], bool] = lambda letter: letter.isalnum() or letter in " -"  # noqa: E731
    return "".join(filter(keep, heading.lower())).strip().replace(" ", "-")
