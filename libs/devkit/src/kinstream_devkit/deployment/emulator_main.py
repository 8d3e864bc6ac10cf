"""Starts the emulator so that each task gets its own role.

Runs in the emulator's container, which has nothing of Kinstream: it imports nothing else of it. By itself the
emulator hands every task credentials that belong to nobody, and with AUTH=true refuses them. Here a task that
asks gets a session of the role that its task definition names, as on AWS.
"""

import json
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

_LIFE_SECONDS = 3_600
_CREDENTIALS = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
_TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105 -- a variable's name
_REGISTER, _HANDLE = "_register_metadata", "handle_request"
_Answer = tuple[int, dict[str, str], bytes]


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
    """Take the places where the emulator makes up credentials, then start it."""
    from ministack import app  # type: ignore[import-untyped]
    from ministack.services import ecs, imds, sts  # type: ignore[import-untyped]

    places = ((ecs, _REGISTER), (imds, _HANDLE), (sts, "register_session"))
    if lacking := [name for module, name in places if not hasattr(module, name)]:
        sys.exit(f"this ministack has no {', '.join(lacking)}; the lock's version has")
    roles = TaskRoles(sts.register_session)
    register, handle = getattr(ecs, _REGISTER), imds.handle_request

    def register_metadata(*arguments: Any) -> Any:
        task_arn, _cluster, definition, _container, _launch_type, environment, *_rest = arguments
        token = register(*arguments)
        roles.remember(environment, task_arn, definition.get("taskRoleArn", ""))
        return token

    async def handle_request(method: str, path: str, headers: dict[str, str], body: bytes, query: Any) -> Any:
        if method == "GET" and path.startswith("/v2/credentials/"):
            return roles.answer(path, headers.get("authorization"))
        return await handle(method, path, headers, body, query)

    setattr(ecs, _REGISTER, register_metadata)
    imds.handle_request = handle_request
    app.main()


if __name__ == "__main__":
    main()
