"""Permissions of roles that a run of `kinstream deploy-local` does not use, and the reasons for them."""

import json
from typing import Any

from kinstream_devkit.deployment.permissions import (
    Permission,
    Unused,
    granted,
    problems_of_permissions,
    used,
)
from kinstream_devkit.deployment.unused import UNUSED

ACCOUNT = "us-east-1:000000000000"
SEND = Permission("api-task", "sqs:SendMessage", "sqs:uploads")
READ = Permission("api-task", "s3:GetObject", "s3:derived/*")


def state(*policies: tuple[str, str, Any]) -> dict[str, Any]:
    """A state whose roles, in a module of a module, have these policies: role, action, resources."""
    resources = [
        {
            "type": "aws_iam_role_policy",
            "values": {
                "role": role,
                "policy": json.dumps({"Statement": [{"Action": action, "Resource": on}]}),
            },
        }
        for role, action, on in policies
    ]
    other = {"type": "aws_sqs_queue", "values": {"name": "kin-uploads"}}
    return {"values": {"root_module": {"child_modules": [{"resources": [other, *resources]}]}}}


def test_grants_are_told_by_role_action_and_resource_without_the_deployments_prefix():
    found = granted(
        state(
            ("kin-api-task", "sqs:SendMessage", f"arn:aws:sqs:{ACCOUNT}:kin-uploads"),
            ("kin-api-task", "s3:GetObject", ["arn:aws:s3:::kin-derived/*", "*"]),
            ("kin-api-execution", "ssm:GetParameters", f"arn:aws:ssm:{ACCOUNT}:parameter/kin/shared/*"),
        ),
        "kin",
    )
    assert found == {
        SEND,
        READ,
        Permission("api-task", "s3:GetObject", "*"),
        Permission("api-execution", "ssm:GetParameters", "ssm:parameter/shared/*"),
    }


def test_batch_uses_the_permission_of_the_single_call():
    calls = [("kin-api-task", "sns:PublishBatch", f"arn:aws:sns:{ACCOUNT}:kin-events")]
    assert used(calls, "kin") == {Permission("api-task", "sns:Publish", "sns:events")}


def test_permission_is_used_by_a_call_on_what_its_pattern_names_and_by_no_other():
    assert problems_of_permissions({READ}, {READ._replace(resource="s3:derived/app/x.jpg")}, ()) == []
    for other in (
        READ._replace(resource="s3:uploads/app/x.jpg"),
        READ._replace(action="s3:PutObject"),
        READ._replace(role="worker-task"),
    ):
        assert len(problems_of_permissions({READ}, {other}, ())) == 1


def test_unused_permission_without_a_reason_is_a_problem():
    (problem,) = problems_of_permissions({SEND, READ}, {READ}, ())
    assert problem.startswith("api-task may sqs:SendMessage on sqs:uploads, and did not")


def test_unused_permission_with_a_reason_is_none():
    reason = Unused("*", "sqs:*", "*", "nobody uploads")
    assert problems_of_permissions({SEND, READ}, {READ}, [reason]) == []


def test_reason_for_what_was_used_is_a_problem_unless_it_is_a_matter_of_chance():
    certain = Unused("api-task", "sqs:*", "*", "nobody uploads")
    chance = Unused("api-task", "sqs:*", "*", "somebody may upload", is_certain=False)
    (problem,) = problems_of_permissions({SEND}, {SEND}, [certain])
    assert "did sqs:SendMessage on sqs:uploads, which is said to be unused" in problem
    assert problems_of_permissions({SEND}, {SEND}, [chance]) == []


def test_reason_for_what_nobody_may_do_is_a_problem():
    (problem,) = problems_of_permissions({SEND}, {SEND}, [Unused("*", "sns:*", "*", "quiet", False)])
    assert problem.startswith("nothing is allowed any more")


def test_every_reason_is_in_words():
    assert all(" " in one.reason for one in UNUSED)
