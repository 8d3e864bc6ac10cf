"""`kinstream deploy-local`: what it says of a plan and of errors, and what a task is told of its role."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from kinstream_devkit.cli import main
from kinstream_devkit.deployment.emulator_main import TaskRoles
from kinstream_devkit.deployment.expected import changed, seconds_in_words, words_of

ROLE = "arn:aws:iam::000000000000:role/kin-ingest-api-task"
TASK = "arn:aws:ecs:us-east-1:000000000000:task/kin/4f2a"
ENVIRONMENT = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2:4566/v2/credentials/1",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "of this task",
}
PATH = "/v2/credentials/1"


def test_types_that_a_plan_touches_are_told_without_those_that_it_only_reads():
    actions = {"a": ["no-op"], "b": ["update"], "c": ["delete", "create"], "d": ["read"]}
    changes = [
        {"type": kind, "mode": "managed", "change": {"actions": what}} for kind, what in actions.items()
    ]
    data = {"type": "e", "mode": "data", "change": {"actions": ["create"]}}
    assert changed({"resource_changes": [*changes, data]}) == {"b", "c"}
    assert changed({}) == set()


def test_errors_of_terraform_come_to_the_resource_and_what_to_do():
    errors = """
Error: creating SQS Queue (kin-uploads): dial tcp 127.0.0.1:4566: connect: connection refused

  with module.stack.module.uploads_queue.aws_sqs_queue.this,
  on ../../modules/queue/main.tf line 3, in resource "aws_sqs_queue" "this":
"""
    words = words_of(errors)
    assert words.startswith("module.stack.module.uploads_queue.aws_sqs_queue.this: creating SQS Queue")
    assert "What to do: the emulator is away" in words


def test_errors_that_name_no_resource_are_told_as_they_are():
    assert words_of("Error: Unsupported Terraform Core version\n") == (
        "Terraform: Unsupported Terraform Core version"
    )
    assert words_of("killed") == "killed"


def test_task_with_its_token_is_its_role():
    sessions = {}
    roles = TaskRoles(sessions.__setitem__)
    roles.remember(ENVIRONMENT, TASK, ROLE)
    status, _, body = roles.answer(PATH, "of this task")
    told = json.loads(body)
    assert (status, told["RoleArn"]) == (200, ROLE)
    session = sessions[told["AccessKeyId"]]
    assert session["Arn"] == "arn:aws:sts::000000000000:assumed-role/kin-ingest-api-task/4f2a"
    assert session["SecretAccessKey"] == told["SecretAccessKey"]
    assert session["SessionToken"] == told["Token"]


@pytest.mark.parametrize(
    ("role", "path", "token"),
    [
        (ROLE, PATH, "of another"),
        (ROLE, PATH, None),
        (ROLE, "/v2/credentials/2", "of this task"),
        ("", PATH, "of this task"),
    ],
)
def test_task_without_a_role_or_without_its_token_is_told_nothing(role, path, token):
    sessions = {}
    roles = TaskRoles(sessions.__setitem__)
    roles.remember(ENVIRONMENT, TASK, role)
    status, _, body = roles.answer(path, token)
    assert (status, sessions) == (403, {})
    assert b"Secret" not in body


def test_time_is_told_in_minutes_and_seconds():
    assert [seconds_in_words(seconds) for seconds in (0, 59.4, 60, 425)] == [
        "0 s",
        "59 s",
        "1 min 00 s",
        "7 min 05 s",
    ]


def test_outside_of_the_repository_it_says_where_to_run_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(main, ["deploy-local"])
    assert told.exit_code == 2
    assert "run this in the repository's folder" in told.output
