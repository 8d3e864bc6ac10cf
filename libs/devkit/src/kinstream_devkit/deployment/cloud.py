"""What a person does on AWS beside Terraform: secrets, the one-off task, looking at services, API keys."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import boto3
import httpx
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from kinstream.errors import PermanentError, RetryableError
from kinstream.resources import Names
from kinstream_devkit.apps import Apps
from kinstream_devkit.deployment.emulator import ROOT_KEY
from kinstream_devkit.deployment.engine import containers, docker

REGION = "us-east-1"
ACCOUNT = "000000000000"
CATALOG_USER = "kinstream"

_PAUSE_SECONDS = 1.0
_TASK_SECONDS = 300
_SERVICES_SECONDS = 600
_REPLACED_SECONDS = 300
_LOG_LINES = 12

_REFUSALS = {"AccessDenied", "AccessDeniedException"}
_ASK = """
import json, sys
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.session import get_session
from kinstream.settings import CoreSettings
service, operation, arguments = sys.argv[1:]
place = {"region_name": "us-east-1", "endpoint_url": CoreSettings().aws_endpoint_url}
place["config"] = Config(s3={"addressing_style": "path"})
client = lambda name: get_session().create_client(name, **place)
try:
    getattr(client(service), operation)(**json.loads(arguments))
    refused = "it was allowed"
except ClientError as error:
    refused = error.response["Error"]["Code"]
print(json.dumps({"arn": client("sts").get_caller_identity()["Arn"], "refused": refused}))
"""
"""Run inside of a task, with the credentials that the task has."""

Say = Callable[[str], None]
ForeignCall = tuple[str, str, Mapping[str, Any]]


@contextmanager
def in_words() -> Iterator[None]:
    """Errors of AWS's client, in the meantime, become RetryableError with its words."""
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise RetryableError(f"the emulator has not done what it was asked for: {error}") from error


class Cloud:
    """One deployment in an emulator, as the account's root sees it."""

    def __init__(self, url: str, prefix: str) -> None:
        self._session = boto3.session.Session(
            region_name=REGION, aws_access_key_id=ROOT_KEY, aws_secret_access_key=ROOT_KEY
        )
        self._url = url
        self._prefix = prefix

    def client(self, service: str) -> Any:
        """A client of the emulator."""
        config = Config(
            s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 4}
        )
        return self._session.client(service, endpoint_url=self._url, config=config)

    def put_secrets(self, outputs: Mapping[str, Any]) -> None:
        """Give every secret of the deployment its value."""
        place = f"{outputs['catalog']['address']}:{outputs['catalog']['port']}"
        values = {
            "KINSTREAM_LEDGER_HASH_KEY": secrets.token_hex(16),
            "KINSTREAM_MEDIA_URL_KEY": secrets.token_hex(32),
            "KINSTREAM_CATALOG_URL": f"postgresql://{CATALOG_USER}:{secrets.token_hex(16)}@{place}/kinstream",
        }
        for variable, name in outputs["secrets"].items():
            self.client("secretsmanager").put_secret_value(SecretId=name, SecretString=values[variable])

    def run_once(self, family: str, network: Mapping[str, Any]) -> None:
        """Run a task to its end. PermanentError with its last words where it fails."""
        ecs = self.client("ecs")
        groups = [network["security_groups"]["ingest-api"]]
        started = ecs.run_task(
            cluster=self._prefix,
            taskDefinition=family,
            launchType="FARGATE",
            networkConfiguration={
                "awsvpcConfiguration": {"subnets": network["subnets"], "securityGroups": groups}
            },
        )
        arn = _first(started, "tasks", f"task {family} was not started")["taskArn"]
        deadline = time.monotonic() + _TASK_SECONDS
        while (task := self._task(arn))["lastStatus"] != "STOPPED":
            if time.monotonic() > deadline:
                raise RetryableError(f"task {family} has not ended for {_TASK_SECONDS} s")
            time.sleep(_PAUSE_SECONDS)
        if task["containers"][0].get("exitCode") != 0:
            name = family.removeprefix(f"{self._prefix}-")
            raise PermanentError(
                f"task {family} failed: {task.get('stoppedReason')}\n{self._last_words(name)}"
            )

    def wait_for_services(self, say: Say) -> None:
        """Until every service has the tasks that it should have, and each of them is ready.

        PermanentError that names those that have not, with why their tasks stopped and their last words.
        """
        deadline = time.monotonic() + _SERVICES_SECONDS
        while missing := self._unready():
            if time.monotonic() > deadline:
                raise PermanentError("\n".join(self._why_not(name) for name in missing))
            say(f"waiting for {', '.join(missing)}")
            time.sleep(_PAUSE_SECONDS)

    def wait_for_api(self, url: str) -> None:
        """Until the load balancer's answer is the API's own, that it is ready."""
        deadline = time.monotonic() + _SERVICES_SECONDS
        while True:
            try:
                answer = str(httpx.get(f"{url}/readyz", trust_env=False, timeout=5).status_code)
            except httpx.HTTPError as error:
                answer = type(error).__name__
            if answer == "200":
                return
            if time.monotonic() > deadline:
                raise PermanentError(f"{url}/readyz answers {answer} after {_SERVICES_SECONDS} s")
            time.sleep(_PAUSE_SECONDS)

    def kill_a_task(self, service: str) -> None:
        """Kill the service's containers, and wait until there are others. RetryableError where none come."""
        before = self._running(service)
        for arn in before:
            for one in containers(f"label=com.amazonaws.ecs.task-arn={arn}"):
                docker("kill", one["Id"])
        deadline = time.monotonic() + _REPLACED_SECONDS
        while not self._running(service) - before:
            if time.monotonic() > deadline:
                raise RetryableError(f"nothing came in place of the task of {service} that was killed")
            time.sleep(_PAUSE_SECONDS)

    def problems_of_role(self, service: str, foreign: ForeignCall) -> list[str]:
        """What is wrong with who a task of the service is: its own role, which is refused the call."""
        client, operation, arguments = foreign
        asked = [client, operation, json.dumps(arguments).replace("PREFIX", self._prefix)]
        found = [
            one["Id"]
            for task in self._running(service)
            for one in containers(f"label=com.amazonaws.ecs.task-arn={task}")
        ]
        if not found:
            raise RetryableError(f"no container of {service} runs, though it was ready")
        answer = json.loads(docker("exec", found[0], "python", "-c", _ASK, *asked))
        wanted = f":assumed-role/{self._prefix}-{service}-task/"
        problems = []
        if wanted not in answer["arn"]:
            problems.append(f"is {answer['arn']} and not its own role")
        if answer["refused"] not in _REFUSALS:
            problems.append(f"may call {client} {operation}, which only others do ({answer['refused']})")
        return problems

    def create_keys(self, app: str) -> tuple[str, str]:
        """A write key and a secret key of a new app."""
        apps = Apps(self.client("dynamodb"), Names(self._prefix, REGION, ACCOUNT))
        return apps.create(app, "write"), apps.create(app, "secret")

    def _task(self, arn: str) -> dict[str, Any]:
        found = self._tasks([arn])
        if not found:
            raise RetryableError(f"the emulator knows nothing of {arn} any more")
        return found[0]

    def _tasks(self, arns: Sequence[str]) -> list[dict[str, Any]]:
        """Those of them that there still are."""
        if not arns:
            return []
        found: list[dict[str, Any]] = self.client("ecs").describe_tasks(cluster=self._prefix, tasks=arns)[
            "tasks"
        ]
        return found

    def _running(self, service: str) -> set[str]:
        found = self.client("ecs").list_tasks(
            cluster=self._prefix, serviceName=service, desiredStatus="RUNNING"
        )
        return {task["taskArn"] for task in self._tasks(found["taskArns"]) if task["lastStatus"] == "RUNNING"}

    def _unready(self) -> list[str]:
        ecs = self.client("ecs")
        arns = [
            arn
            for page in ecs.get_paginator("list_services").paginate(cluster=self._prefix)
            for arn in page["serviceArns"]
        ]
        missing = []
        for arn in arns:
            answer = ecs.describe_services(cluster=self._prefix, services=[arn])
            service = _first(answer, "services", f"the emulator knows nothing of {arn}")
            tasks = self._running(service["serviceName"])
            if len(tasks) < service["desiredCount"] or not all(map(_is_healthy, tasks)):
                missing.append(service["serviceName"])
        return sorted(missing)

    def _why_not(self, service: str) -> str:
        stopped = self.client("ecs").list_tasks(
            cluster=self._prefix, serviceName=service, desiredStatus="STOPPED"
        )["taskArns"]
        reasons = {task.get("stoppedReason") or "?" for task in self._tasks(stopped)}
        why = "; ".join(sorted(reasons)) or "its tasks run"
        return f"{service} is not ready: {why}\n{self._last_words(service)}"

    def _last_words(self, name: str) -> str:
        logs = self.client("logs")
        group = f"/{self._prefix}/{name}"
        try:
            streams = logs.describe_log_streams(logGroupName=group)["logStreams"]
        except logs.exceptions.ResourceNotFoundException:
            return f"  (there is no log {group})"
        events = [
            event
            for stream in streams
            for event in logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"])[
                "events"
            ]
        ]
        last = sorted(events, key=lambda event: event["timestamp"])[-_LOG_LINES:]
        return "\n".join(f"  {event['message'].rstrip()}" for event in last) or "  (its log is empty)"


def _first(answer: Mapping[str, Any], name: str, otherwise: str) -> dict[str, Any]:
    """The first of what ECS answers. RetryableError, with what it says of it, where there is none."""
    if not answer[name]:
        why = "; ".join(failure.get("reason", "?") for failure in answer.get("failures", []))
        raise RetryableError(f"{otherwise}: {why or 'no reason was given'}")
    found: dict[str, Any] = answer[name][0]
    return found


def _is_healthy(task_arn: str) -> bool:
    found = containers(f"label=com.amazonaws.ecs.task-arn={task_arn}")
    # ECS asks by the task definition's check; the emulator runs the image's own, which asks the same.
    return bool(found) and all(
        one["State"].get("Health", {}).get("Status", "healthy") == "healthy" for one in found
    )
