"""What each service may do: all that its code does, and nothing of what only others do."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from kinstream.resources import ProcessorQueue
from kinstream.settings import CoreSettings
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.infra.conftest import PLANNED_PREFIX
from tests.support.iam import Call, Clients, assumed, enforcing_emulator, is_allowed, root
from tests.support.terraform import planned

Plan = Mapping[str, Any]

OTHER_PREFIX = "kinother"
"""Another deployment in the same account."""

BATCHES = {"sns:PublishBatch", "sqs:DeleteMessageBatch", "sqs:ChangeMessageVisibilityBatch"}
"""Only the emulator knows these, and only dev names them; on AWS the single call's action allows a batch."""

UNPROVABLE = {Call("terminate", "clusters"), Call("protect", "tasks")}
"""The emulator asks for these on other resources than AWS: all clusters, and the cluster of the task."""


def _calls(text: str) -> frozenset[Call]:
    """`thing: call call` a line."""
    lines = (line.split(":") for line in text.splitlines() if line.strip())
    return frozenset(Call(call, on.strip()) for on, calls in lines for call in calls.split())


def _counting(name: str) -> str:
    return f"""
    table/ledger: get_item batch_get_item query transact_put
    table/counters: update_item transact_update get_item query put_item transact_put batch_write_item
    table/records: get_item batch_get_item transact_put transact_update
    table/outbox: transact_put
    table/registry: query get_item
    queue/rebuild-{name}: get_queue_url receive_message delete_message_batch
    queue/rebuild-{name}: change_message_visibility_batch
    queue/rebuild-{name}-dlq: get_queue_url send_message"""


BESIDE = {
    "activity": """
    table/ledger: update_item
    table/ledger/index/due: query
    table/records: update_item
    topic/sessions: publish_batch
    topic/events: publish""",
    "archive": """
    table/outbox: put_item
    bucket/archive: list_objects get_object delete_objects""",
}
"""What these do beside processing: closing sessions, merging files."""


def _of_processor(queue: ProcessorQueue) -> frozenset[Call]:
    return _calls(f"""
    queue/processor-{queue.name}: get_queue_url receive_message delete_message_batch
    queue/processor-{queue.name}: change_message_visibility_batch
    queue/processor-{queue.name}-dlq: get_queue_url send_message
    table/outbox: get_item update_item
    table/outbox/index/pending: query
    topic/alerts: publish
    {f"bucket/{queue.bucket}: head_bucket put_object" if queue.bucket else _counting(queue.name)}
    {BESIDE.get(queue.name, "")}""")


CALLS: Mapping[str, frozenset[Call]] = {
    "ingest-api": _calls("""
        topic/events: get_topic_attributes publish_batch
        table/registry: get_item batch_get_item query put_item delete_item
        table/counters: get_item batch_get_item
        table/counters/index/trend: query
        table/ledger: query
        table/records: query update_item get_item
        table/recommendations: get_item query
        bucket/quarantine: head_bucket put_object
        bucket/uploads: sign_upload
        queue/uploads: get_queue_url send_message
        bucket/derived: head_bucket list_objects sign_download get_object"""),
    **dict.fromkeys(
        ("media-worker", "media-worker-large"),
        _calls("""
        queue/uploads: get_queue_url receive_message delete_message
        queue/media: get_queue_url get_queue_attributes send_message receive_message delete_message
        queue/media: change_message_visibility
        queue/media-large: get_queue_url get_queue_attributes send_message receive_message delete_message
        queue/media-large: change_message_visibility
        bucket/uploads: head_bucket list_objects get_object
        bucket/derived: head_bucket list_objects get_object put_object delete_objects abort_upload
        topic/media: publish
        tasks: protect"""),
    ),
    "recommender-trigger": _calls("""
        table/registry: query
        table/counters/index/due: query
        table/counters: update_item
        table/recommendations: get_item query update_item delete_item batch_write_item
        table/recommendations: transact_put transact_check
        bucket/archive: head_bucket list_objects get_object
        bucket/training: head_bucket list_objects get_object put_object
        topic/operations: publish
        queue/emr-events: get_queue_url receive_message delete_message_batch
        queue/emr-events-dlq: get_queue_url
        clusters: list launch describe list_steps terminate"""),
    **{f"session-worker-{queue.name}": _of_processor(queue) for queue in processor_queues()},
}
"""What the code of each service calls, on what. A new call belongs here and into modules/stack/iam.tf."""

ALIKE = {
    "transact_put": "put_item",
    "transact_update": "update_item",
    "publish_batch": "publish",
    "delete_message_batch": "delete_message",
    "change_message_visibility_batch": "change_message_visibility",
    "head_bucket": "list_objects",
    "sign_upload": "put_object",
    "sign_download": "get_object",
}
"""Calls that ask for the same permission as another."""


@pytest.fixture(scope="session")
def policies(plan: Plan) -> dict[str, str]:
    """The policy of each service's task role, as planned."""
    found = {policy["name"]: policy.get("policy") for policy in planned(plan, "aws_iam_role_policy")}
    return {name: found[name] for name in CALLS}


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """An emulator that enforces IAM, with everything in it that the services use."""
    with enforcing_emulator() as url:
        for prefix in (PLANNED_PREFIX, OTHER_PREFIX):
            provision(CoreSettings(name_prefix=prefix, aws_endpoint_url=url), processor_queues())
        yield url


@pytest.fixture(scope="module")
def roles(emulator: str, policies: Mapping[str, str]) -> dict[str, Clients]:
    """Clients by service, each with its role."""
    return {name: assumed(emulator, f"{name}-role", policy) for name, policy in policies.items()}


def test_every_service_of_the_plan_is_held_to_its_calls(plan: Plan) -> None:
    assert {service["name"] for service in planned(plan, "aws_ecs_service")} == set(CALLS)


@pytest.mark.parametrize("service", CALLS)
def test_role_allows_every_call_that_its_service_makes(service: str, roles: Mapping[str, Clients]) -> None:
    calls = CALLS[service] - UNPROVABLE
    assert not {call for call in calls if not is_allowed(roles[service], PLANNED_PREFIX, call)}


@pytest.mark.parametrize("service", CALLS)
def test_role_refuses_every_call_that_only_other_services_make(
    service: str, roles: Mapping[str, Clients]
) -> None:
    own = {_asked(call) for call in CALLS[service]}
    foreign = {call for calls in CALLS.values() for call in calls if _asked(call) not in own}
    allowed = {call for call in foreign if is_allowed(roles[service], PLANNED_PREFIX, call)}
    assert len(foreign) > 20
    assert not allowed


@pytest.mark.parametrize("service", CALLS)
def test_role_knows_no_other_deployment(service: str, roles: Mapping[str, Clients]) -> None:
    named = {call for call in CALLS[service] if "/" in call.on}
    assert not {call for call in named if is_allowed(roles[service], OTHER_PREFIX, call)}


def test_policies_hold_no_action_that_no_call_needs(policies: Mapping[str, str]) -> None:
    for service, policy in policies.items():
        granted = {action for statement in _statements(policy) for action in _list(statement["Action"])}
        needed = {action for call in CALLS[service] for action in _ACTIONS[f"{_kind(call)}.{call.operation}"]}
        assert granted - BATCHES == needed, service


def test_emulator_refuses_who_has_no_role(emulator: str) -> None:
    nothing = {"Effect": "Deny", "Action": "sqs:*", "Resource": "*"}
    stranger = assumed(emulator, "stranger", json.dumps({"Version": "2012-10-17", "Statement": [nothing]}))
    with pytest.raises(ClientError, match="not authorized"):
        stranger("sqs").get_queue_url(QueueName=f"{PLANNED_PREFIX}-uploads")
    assert root(emulator)("sqs").get_queue_url(QueueName=f"{PLANNED_PREFIX}-uploads")


_ACTIONS: Mapping[str, tuple[str, ...]] = {
    "topic.publish": ("sns:Publish",),
    "topic.publish_batch": ("sns:Publish",),
    "topic.get_topic_attributes": ("sns:GetTopicAttributes",),
    "queue.get_queue_url": ("sqs:GetQueueUrl",),
    "queue.get_queue_attributes": ("sqs:GetQueueAttributes",),
    "queue.send_message": ("sqs:SendMessage",),
    "queue.receive_message": ("sqs:ReceiveMessage",),
    "queue.delete_message": ("sqs:DeleteMessage",),
    "queue.change_message_visibility": ("sqs:ChangeMessageVisibility",),
    "queue.delete_message_batch": ("sqs:DeleteMessage",),
    "queue.change_message_visibility_batch": ("sqs:ChangeMessageVisibility",),
    "table.get_item": ("dynamodb:GetItem",),
    "table.batch_get_item": ("dynamodb:BatchGetItem",),
    "table.query": ("dynamodb:Query",),
    "table.put_item": ("dynamodb:PutItem",),
    "table.update_item": ("dynamodb:UpdateItem",),
    "table.delete_item": ("dynamodb:DeleteItem",),
    "table.batch_write_item": ("dynamodb:BatchWriteItem",),
    "table.transact_put": ("dynamodb:PutItem",),
    "table.transact_update": ("dynamodb:UpdateItem",),
    "table.transact_check": ("dynamodb:ConditionCheckItem",),
    "bucket.head_bucket": ("s3:ListBucket",),
    "bucket.list_objects": ("s3:ListBucket",),
    "bucket.get_object": ("s3:GetObject",),
    "bucket.put_object": ("s3:PutObject",),
    "bucket.delete_objects": ("s3:DeleteObject",),
    "bucket.abort_upload": ("s3:AbortMultipartUpload",),
    "bucket.sign_upload": ("s3:PutObject",),
    "bucket.sign_download": ("s3:GetObject",),
    "tasks.protect": ("ecs:UpdateTaskProtection",),
    "clusters.list": ("elasticmapreduce:ListClusters",),
    # A cluster is launched with tags, two roles and an idle time.
    "clusters.launch": (
        "elasticmapreduce:RunJobFlow",
        "elasticmapreduce:AddTags",
        "elasticmapreduce:PutAutoTerminationPolicy",
        "iam:PassRole",
    ),
    "clusters.describe": ("elasticmapreduce:DescribeCluster",),
    "clusters.list_steps": ("elasticmapreduce:ListSteps",),
    "clusters.terminate": ("elasticmapreduce:TerminateJobFlows",),
}


def _kind(call: Call) -> str:
    return call.on.partition("/")[0]


def _asked(call: Call) -> Call:
    return Call(ALIKE.get(call.operation, call.operation), call.on)


def _statements(policy: str) -> list[dict[str, Any]]:
    statements = json.loads(policy)["Statement"]
    return statements if isinstance(statements, list) else [statements]


def _list(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]
