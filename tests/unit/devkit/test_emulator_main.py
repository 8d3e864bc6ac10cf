"""What the emulator of `kinstream deploy-local` tells tasks of their role, and Terraform that asks twice."""

import asyncio
import json
from typing import Any

import pytest

from kinstream_devkit.deployment.emulator_main import AskedAgain, TaskRoles

ROLE = "arn:aws:iam::000000000000:role/kin-ingest-api-task"
TASK = "arn:aws:ecs:us-east-1:000000000000:task/kin/4f2a"
ENVIRONMENT = {
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.2:4566/v2/credentials/1",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "of this task",
}
PATH = "/v2/credentials/1"
TERRAFORM = b"APN/1.0 HashiCorp/1.0 Terraform/1.11.4"


class Application:
    """Answers with how many calls it has had; each is worked on until `go` is set."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.calls = 0
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.go.set()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.calls += 1
        count = self.calls
        self.begun.set()
        await self.go.wait()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": str(count).encode()})


async def asked(asked_again: AskedAgain, call: bytes, agent: bytes = TERRAFORM) -> str:
    """The body of the answer to a call."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"amz-sdk-invocation-id", call), (b"user-agent", agent)]
    await asked_again({"type": "http", "headers": headers}, None, send)  # type: ignore[arg-type]
    return sent[1]["body"].decode()


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


async def test_terraform_that_asks_again_is_told_the_same_and_nothing_is_done_twice():
    application = Application()
    asked_again = AskedAgain(application)
    assert [await asked(asked_again, call) for call in (b"a", b"b", b"a")] == ["1", "2", "1"]


async def test_call_whose_asker_hung_up_is_gone_on_with_for_who_asks_again():
    application = Application()
    asked_again = AskedAgain(application)
    application.go.clear()
    first = asyncio.create_task(asked(asked_again, b"a"))
    await application.begun.wait()
    first.cancel()
    second = asyncio.create_task(asked(asked_again, b"a"))
    application.go.set()
    assert (await second, application.calls) == ("1", 1)


async def test_call_that_came_to_nothing_is_made_anew():
    application = Application(status=503)
    asked_again = AskedAgain(application)
    assert [await asked(asked_again, b"a") for _ in range(2)] == ["1", "2"]


async def test_other_clients_are_answered_each_time():
    asked_again = AskedAgain(Application())
    assert [await asked(asked_again, b"a", b"Boto3/1.43") for _ in range(2)] == ["1", "2"]
