"""No role may act on more than the deployment's own: of dev, and of prod with all that can be turned on."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.infra.conftest import PLANNED_PREFIX
from tests.support.terraform import BOUNDARY, PEER, planned

# Where the plans are: by a parameter's name pytest does not see that these need them.
pytestmark = pytest.mark.xdist_group("terraform-plan")

Plan = Mapping[str, Any]
Statement = Mapping[str, Any]

WITHOUT_RESOURCES = {
    "ecr:GetAuthorizationToken",
    "elasticmapreduce:ListClusters",
    "elasticmapreduce:RunJobFlow",
    "xray:PutTelemetryRecords",
    "xray:PutTraceSegments",
}
"""AWS knows no resource for these; where it knows a condition, the statement has it."""

ENDS_OPEN = {
    r"s3:::PREFIX-[a-z]+/.*": "objects of one bucket come and go",
    r"logs:\S+:log-group:/PREFIX/[a-z-]+:\*": "streams of one log, which whoever writes names",
    r"ssm:\S+:parameter/PREFIX/[a-z-]+/\*": "settings of one service",
    r"secretsmanager:\S+:secret:PREFIX/[a-z-]+-\?{6}": "one secret: Secrets Manager adds six signs",
    r"ecs:\S+:task/PREFIX/\*": "tasks of the deployment's own cluster, which ECS names",
    r"es:\S+:domain/PREFIX-logs/\*": "paths of one domain",
    r"elasticmapreduce:\S+:cluster/\*": "EMR names clusters: the tag bounds what is done with one",
}
"""What an ARN with a wildcard may look like, and why it cannot be named whole."""

MANAGED = {"arn:aws:iam::aws:policy/service-role/AmazonEMRServicePolicy_v2"}
"""AWS's own policies that a role has: this one reaches only what carries a tag."""

MADE_LATE = {"read-administrator", "recommender-trigger", "start-migrate"}
"""Policies that name what gets its name only when it is made: their parts are looked at instead."""


@pytest.mark.parametrize("which", ["plan", "plan_of_everything"])
def test_no_policy_has_a_wildcard_for_a_resource(which: str, request: pytest.FixtureRequest) -> None:
    statements = list(_statements(request.getfixturevalue(which)))
    assert len(statements) > 100
    assert [one for one in statements if _is_wild(one)] == []


@pytest.mark.parametrize("which", ["plan", "plan_of_everything"])
def test_no_role_has_a_policy_of_aws_but_that_of_emr(which: str, request: pytest.FixtureRequest) -> None:
    plan = request.getfixturevalue(which)
    assert {one["policy_arn"] for one in planned(plan, "aws_iam_role_policy_attachment")} == MANAGED
    assert not planned(plan, "aws_iam_policy_attachment")
    assert not any(role.get("managed_policy_arns") for role in planned(plan, "aws_iam_role"))


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("sqs:SendMessage", "*"),
        ("dynamodb:GetItem", "arn:aws:dynamodb:us-east-1:000000000000:table/*"),
        ("dynamodb:GetItem", f"arn:aws:dynamodb:us-east-1:000000000000:table/{PLANNED_PREFIX}-*"),
        ("s3:GetObject", "arn:aws:s3:::*/original"),
        ("s3:GetObject", f"arn:aws:s3:::{PLANNED_PREFIX}-*/original"),
        ("ssm:GetParameters", f"arn:aws:ssm:us-east-1:000000000000:parameter/{PLANNED_PREFIX}/*"),
        ("sqs:*", f"arn:aws:sqs:us-east-1:000000000000:{PLANNED_PREFIX}-uploads"),
    ],
)
def test_wildcard_without_a_reason_is_found(action: str, resource: str) -> None:
    assert _is_wild({"Action": action, "Resource": [resource]})


def test_roles_of_tasks_are_bounded_and_the_peer_is_reached(plan_of_everything: Plan) -> None:
    roles = {
        role["name"]: role.get("permissions_boundary") for role in planned(plan_of_everything, "aws_iam_role")
    }
    of_tasks = {name for name in roles if name.endswith(("-task", "-execution"))}
    assert {roles[name] for name in of_tasks} == {BOUNDARY}
    (peering,) = planned(plan_of_everything, "aws_vpc_peering_connection")
    to_peer = [
        one
        for one in planned(plan_of_everything, "aws_route")
        if one["destination_cidr_block"] == PEER["cidr"]
    ]
    assert (peering["peer_vpc_id"], len(to_peer)) == (PEER["vpc_id"], 1)


def _is_wild(statement: Statement) -> bool:
    actions = _list(statement["Action"])
    return any("*" in action for action in actions) or any(
        not (set(actions) <= WITHOUT_RESOURCES if resource == "*" else _has_reason(resource))
        for resource in _list(statement["Resource"])
    )


def _has_reason(resource: str) -> bool:
    if not set("*?") & set(resource):
        return True
    patterns = (pattern.replace("PREFIX", PLANNED_PREFIX) for pattern in ENDS_OPEN)
    return any(re.fullmatch(f"arn:aws:{pattern}", resource) for pattern in patterns)


def _statements(plan: Plan) -> Iterator[Statement]:
    late = set()
    for policy in planned(plan, "aws_iam_role_policy"):
        if "policy" in policy:
            yield from _list(json.loads(policy["policy"])["Statement"])
        else:
            late.add(policy["name"])
    assert late <= MADE_LATE
    for change in plan["resource_changes"]:
        if change["type"] != "aws_iam_policy_document":
            continue
        for part in change["change"]["after"].get("statement", []):
            # With a principal it is a resource's own policy. What is not known yet is the name of one thing.
            if not part.get("principals"):
                known = [resource for resource in part.get("resources") or [] if resource]
                yield {"Action": part["actions"], "Resource": known}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
