"""Starts the emulator so that tasks get their roles, what they use is noted, and Terraform may ask twice.

Runs in the emulator's container, which has nothing of Kinstream: it imports nothing else of it. By itself the
emulator hands every task credentials that belong to nobody, and with AUTH=true refuses them. Here a task that
asks gets a session of the role that its task definition names, as on AWS.

AWS's client for Go hangs up now and then on a server that is quicker than its own note of having sent all
(aws/aws-sdk-go-v2, issue 2737), and asks again. What it asked for is done by then: without help a second
CreateRole says that there is one, and Terraform gives up.

What a role's policies have allowed is noted, for whoever asks whether it needs all that they allow.
"""

import asyncio
import json
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

_LIFE_SECONDS = 3_600
_CREDENTIALS = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 -- a variable's name
_REGISTER, _HANDLE = "_register_metadata", "handle_request"
_CALL, _CLIENT = b"amz-sdk-invocation-id", b"Terraform"
_MOST_REMEMBERED = 2_000
_PAUSE_SECONDS = 0.02
"""By then Terraform's client knows that it has sent all, mostly: without it, one in a thousand hangs up."""
_ALLOWED_CALLS = "/_kinstream/allowed-calls"  # the first part can be the name of no bucket
_Answer = tuple[int, dict[str, str], bytes]
_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_App = Callable[[_Message, _Receive, _Send], Awaitable[None]]


class AskedAgain:
    """An ASGI application by which Terraform is told the same when it makes the same call once more.

    A call that came to nothing (5xx) is made anew. Other clients are not looked at.
    """

    def __init__(self, application: _App) -> None:
        self._application = application
        self._told: OrderedDict[bytes, asyncio.Task[list[_Message]]] = OrderedDict()

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer from memory, or ask the application."""
        headers = dict(scope.get("headers", ()))
        call = headers.get(_CALL)
        if not call or _CLIENT not in headers.get(b"user-agent", b""):
            await self._application(scope, receive, send)
            return
        answering = self._told.get(call)
        if answering is None or not await _came_to_something(answering):
            # Not by the connection's own task, which ends when the client hangs up.
            answering = asyncio.create_task(self._asked(scope, receive))
            self._told[call] = answering
            if len(self._told) > _MOST_REMEMBERED:
                self._told.popitem(last=False)
        answer = await asyncio.shield(answering)
        await asyncio.sleep(_PAUSE_SECONDS)
        for message in answer:
            await send(message)

    async def _asked(self, scope: _Message, receive: _Receive) -> list[_Message]:
        answer: list[_Message] = []

        async def keep(message: _Message) -> None:
            answer.append(message)

        await self._application(scope, receive, keep)
        return answer


async def _came_to_something(answering: "asyncio.Task[list[_Message]]") -> bool:
    await asyncio.wait([answering])
    return answering.exception() is None and answering.result()[0]["status"] < 500


class AllowedCalls:
    """An ASGI application that tells, at a path of its own, which calls were allowed to which role."""

    def __init__(self, application: _App) -> None:
        self._application = application
        self._calls: set[tuple[str, str, str]] = set()

    def note(self, principal_arn: str, action: str, resource: str) -> None:
        """A policy of this principal allows it; of interest is who has a role."""
        if ":assumed-role/" in principal_arn:
            self._calls.add((principal_arn.split("/")[1], action, resource))

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        """Answer with [role, action, resource] of each, once, or ask the application."""
        if scope.get("path") != _ALLOWED_CALLS:
            await self._application(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(sorted(self._calls)).encode()})


class TaskRoles:
    """Which task may ask where, and what it is told there."""

    def __init__(self, register_session: Callable[[str, dict[str, Any]], None]) -> None:
        self._register_session = register_session
        self._known: dict[str, tuple[str, str, str]] = {}

    def remember(self, environment: dict[str, str], task_arn: str, role_arn: str) -> None:
        """A container is about to start with this environment."""
        if role_arn:
            path = urlsplit(environment[_CREDENTIALS]).path
            self._known[path] = (environment[_TOKEN], task_arn, role_arn)

    def answer(self, path: str, token: str | None) -> _Answer:
        """Credentials of the task's role, for whoever has the task's token."""
        expected, task_arn, role_arn = self._known.get(path, ("", "", ""))
        if not expected or not secrets.compare_digest(expected, token or ""):
            return _json(
                403, {"code": "AccessDenied", "message": "this task has no role, or that is not its token"}
            )
        account, role = role_arn.split(":")[4], role_arn.rpartition("/")[2]
        session = task_arn.rpartition("/")[2]
        key, secret, session_token = (
            f"ASIA{secrets.token_hex(8).upper()}",
            secrets.token_hex(20),
            secrets.token_hex(64),
        )
        expires = time.time() + _LIFE_SECONDS
        self._register_session(
            key,
            {
                "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{session}",
                "UserId": f"{role}:{session}",
                "SecretAccessKey": secret,
                "SessionToken": session_token,
                "Expiration": expires,
                "AccountId": account,
                "PrincipalType": "AssumedRole",
            },
        )
        return _json(
            200,
            {
                "AccessKeyId": key,
                "SecretAccessKey": secret,
                "Token": session_token,
                "Expiration": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires)),
                "RoleArn": role_arn,
            },
        )


def _json(status: int, body: dict[str, str]) -> _Answer:
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()


def main() -> None:
    """Take the places where the emulator makes up credentials and answers, then start it."""
    from ministack import app  # type: ignore[import-untyped]
    from ministack.core import iam_evaluator  # type: ignore[import-untyped]
    from ministack.services import ecs, imds, sts  # type: ignore[import-untyped]

    places = ((ecs, _REGISTER), (imds, _HANDLE), (sts, "register_session"), (iam_evaluator, "evaluate"))
    if lacking := [name for module, name in places if not hasattr(module, name)]:
        sys.exit(f"this ministack has no {', '.join(lacking)}; the lock's version has")
    roles = TaskRoles(sts.register_session)
    calls = AllowedCalls(app.app)
    register, handle, evaluate = getattr(ecs, _REGISTER), imds.handle_request, iam_evaluator.evaluate

    def register_metadata(*arguments: Any) -> Any:
        task_arn, _cluster, definition, _container, _launch_type, environment, *_rest = arguments
        token = register(*arguments)
        roles.remember(environment, task_arn, definition.get("taskRoleArn", ""))
        return token

    async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Any:
        if method == "GET" and path.startswith("/v2/credentials/"):
            return roles.answer(path, headers.get("authorization"))
        return await handle(method, path, headers, body, query)

    def evaluate_and_note(asked: Any, *policies: Any) -> Any:
        result = evaluate(asked, *policies)
        if result.decision == "Allow":
            calls.note(asked.principal_arn, asked.action, asked.resource_arn)
        return result

    setattr(ecs, _REGISTER, register_metadata)
    imds.handle_request = handle_request
    iam_evaluator.evaluate = evaluate_and_note
    app.app = AskedAgain(calls)
    app.main()


if __name__ == "__main__":
    main()
