"""EMR and EMR Serverless that run no jobs: each attempt goes through a script's states, one a look.

They speak their real protocols over HTTP, so that real clients talk to them, and hold each request and each
of their own answers to botocore's model. Everything else goes on to the emulator.
"""

import asyncio
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from aiohttp import web

from tests.support.botocore_model import model_of, rest_parameters, violations
from tests.support.fault_proxy import FaultProxy, fault_proxy

Job = Callable[[list[str]], None]

_ENDS = ("TERMINATED", "TERMINATED_WITH_ERRORS", "SUCCESS", "FAILED", "CANCELLED")
_EMR = "ElasticMapReduce."
_REST = {
    ("POST", r"/applications/\w+/jobruns"): "StartJobRun",
    ("GET", r"/applications/\w+/jobruns"): "ListJobRuns",
    ("GET", r"/applications/\w+/jobruns/\w+"): "GetJobRun",
    ("DELETE", r"/applications/\w+/jobruns/\w+"): "CancelJobRun",
}


@dataclass(frozen=True)
class Script:
    """What becomes of one attempt."""

    states: tuple[str, ...] = ("STARTING", "RUNNING", "TERMINATING", "TERMINATED")
    code: str = "ALL_STEPS_COMPLETED"
    message: str = "Steps completed"
    step: str = "COMPLETED"
    failure: Mapping[str, str] = field(default_factory=dict)
    does_job: bool = True
    """Whether the job writes its output, on the way to the last state."""


def broken(code: str, message: str = "it broke", step: str = "CANCELLED", **failure: str) -> Script:
    """An attempt whose cluster ends badly."""
    states = ("STARTING", "TERMINATING", "TERMINATED_WITH_ERRORS")
    return Script(states, code, message, step, failure, does_job=False)


@dataclass
class Attempt:
    """A cluster or a job run."""

    id: str
    request: dict[str, Any]
    script: Script
    created_at: float
    subnet: str | None = None
    looks: int = 0
    is_busy: bool = False
    """While the job writes its output."""
    stopped: bool = False

    @property
    def state(self) -> str:
        """As it is now."""
        return self.script.states[min(self.looks, len(self.script.states) - 1)]

    @property
    def is_before_its_end(self) -> bool:
        """Whether the next look finds it ended."""
        following = self.script.states[self.looks + 1 : self.looks + 2]
        return bool(following) and following[0] in _ENDS

    @property
    def is_at_work(self) -> bool:
        """Whether it holds machines."""
        return not self.stopped and self.state not in _ENDS

    @property
    def name(self) -> str:
        """By which its launcher finds it again."""
        return str(self.request.get("Name") or self.request.get("name"))


class ScriptedEmr:
    """Both services. Scripts are taken in order, and the last one for ever."""

    def __init__(self, now_ms: Callable[[], int], job: Job) -> None:
        self.scripts: list[Script] = [Script()]
        self.attempts: list[Attempt] = []
        self.violations: list[str] = []
        self.calls: list[str] = []
        self.hidden_lists = 0
        """In so many lists nothing that is new is shown yet."""
        self._held: tuple[threading.Event, threading.Event] | None = None
        self._now_ms = now_ms
        self._job = job
        self._models = {name: model_of(name) for name in ("emr", "emr-serverless")}

    def forget(self, *scripts: Script) -> None:
        """Nothing was ever launched, and this is what comes."""
        self.attempts.clear()
        self.calls.clear()
        self.scripts = list(scripts) or [Script()]
        self.hidden_lists = 0

    @contextmanager
    def launch_held_back(self) -> Iterator[threading.Event]:
        """The next cluster is launched when the block is left; the event says that it was asked for."""
        asked, let_go = threading.Event(), threading.Event()
        self._held = asked, let_go
        try:
            yield asked
        finally:
            let_go.set()

    @property
    def at_work(self) -> list[Attempt]:
        """What holds machines now."""
        return [attempt for attempt in self.attempts if attempt.is_at_work]

    def operation(self, method: str, path: str, headers: Mapping[str, str]) -> str | None:
        """As the proxy asks."""
        target = headers.get("X-Amz-Target", "")
        if target.startswith(_EMR):
            return target.removeprefix(_EMR)
        rest = (name for (verb, shape), name in _REST.items() if verb == method and re.fullmatch(shape, path))
        return next(rest, None)

    async def answer(self, operation: str, request: web.Request, body: bytes) -> web.Response:
        """Do it, as the model says it is done."""
        is_rest = "X-Amz-Target" not in request.headers
        model = self._models["emr-serverless" if is_rest else "emr"].operation_model(operation)
        sent = json.loads(body or b"{}")
        if is_rest:
            query = {name: request.query.getall(name) for name in request.query}
            sent = rest_parameters(model, request.path, query, sent)
        self.calls.append(operation)
        self.violations += violations(model.input_shape, sent)
        try:
            answered = await getattr(self, f"_{operation}")(sent)
        except _RefusedError as refused:
            told = {"__type": refused.code, "message": str(refused)}
            return web.json_response(told, status=400, headers={"x-amzn-errortype": refused.code})
        self.violations += violations(model.output_shape, answered)
        return web.json_response(answered, content_type="application/x-amz-json-1.1")

    async def _RunJobFlow(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802 - called by its name
        if self._held:
            (asked, let_go), self._held = self._held, None
            asked.set()
            await asyncio.to_thread(let_go.wait)
        subnets = sent["Instances"]["Ec2SubnetIds"]
        attempt = self._launched(f"j-{len(self.attempts):013X}", sent, subnets[0])
        return {"JobFlowId": attempt.id, "ClusterArn": f"arn:aws:elasticmapreduce:::cluster/{attempt.id}"}

    async def _ListClusters(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        states = sent.get("ClusterStates")
        found = [
            attempt
            for attempt in self._shown()
            if attempt.created_at >= sent.get("CreatedAfter", 0)
            and (not states or _cluster_state(attempt) in states)
        ]
        # Two pages, so that a client that reads only one misses something.
        start, size = int(sent.get("Marker", 0)), 2
        more = {"Marker": str(start + size)} if start + size < len(found) else {}
        page = found[start : start + size]
        clusters = [{"Id": a.id, "Name": a.name, "Status": {"State": _cluster_state(a)}} for a in page]
        return {"Clusters": clusters, **more}

    async def _DescribeCluster(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        attempt = self._known(sent["ClusterId"])
        await self._look(attempt)
        status: dict[str, Any] = {"State": _cluster_state(attempt)}
        if attempt.stopped:
            status["StateChangeReason"] = {"Code": "USER_REQUEST", "Message": "Terminated by user request"}
        elif attempt.state in _ENDS:
            status["StateChangeReason"] = {"Code": attempt.script.code, "Message": attempt.script.message}
        return {
            "Cluster": {
                "Id": attempt.id,
                "Name": attempt.name,
                "Status": status,
                "Ec2InstanceAttributes": {"Ec2SubnetId": attempt.subnet},
                "Tags": attempt.request["Tags"],
            }
        }

    async def _ListSteps(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        attempt = self._known(sent["ClusterId"])
        status: dict[str, Any] = {"State": "CANCELLED" if attempt.stopped else attempt.script.step}
        if attempt.script.failure:
            status["FailureDetails"] = dict(attempt.script.failure)
        return {"Steps": [{"Id": "s-1", "Name": attempt.name, "Status": status}]}

    async def _TerminateJobFlows(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        for cluster_id in sent["JobFlowIds"]:
            self._stop(self._known(cluster_id))
        return {}

    async def _StartJobRun(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        again = [a for a in self.attempts if a.request.get("clientToken") == sent["clientToken"]]
        attempt = again[0] if again else self._launched(f"00f{len(self.attempts):013d}", sent, None)
        return {
            "applicationId": sent["applicationId"],
            "jobRunId": attempt.id,
            "arn": _arn(sent["applicationId"], attempt.id),
        }

    async def _ListJobRuns(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        since = sent.get("createdAtAfter")
        since = datetime.fromisoformat(since).timestamp() if since else 0
        found = [
            self._summary(sent["applicationId"], attempt)
            for attempt in self._shown()
            if attempt.created_at >= since
        ]
        states = sent.get("states")
        return {"jobRuns": [one for one in found if not states or one["state"] in states]}

    async def _GetJobRun(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        attempt = self._known(sent["jobRunId"], "ResourceNotFoundException")
        await self._look(attempt)
        summary = self._summary(sent["applicationId"], attempt)
        summary["jobRunId"] = summary.pop("id")
        if attempt.state in _ENDS:
            used = {"vCPUHour": 0.5, "memoryGBHour": 2.0, "storageGBHour": 0.0}
            summary |= {"totalResourceUtilization": used, "billedResourceUtilization": used}
        return {
            "jobRun": summary | {"jobDriver": attempt.request["jobDriver"], "tags": attempt.request["tags"]}
        }

    async def _CancelJobRun(self, sent: dict[str, Any]) -> dict[str, Any]:  # noqa: N802
        attempt = self._known(sent["jobRunId"], "ResourceNotFoundException")
        if not attempt.is_at_work:
            raise _RefusedError("ValidationException", "the job run has ended")
        self._stop(attempt)
        return {"applicationId": sent["applicationId"], "jobRunId": attempt.id}

    def _launched(self, attempt_id: str, sent: dict[str, Any], subnet: str | None) -> Attempt:
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        if script.code == "refused":
            raise _RefusedError("ValidationException", script.message)
        attempt = Attempt(attempt_id, sent, script, self._now_ms() / 1000, subnet)
        self.attempts.append(attempt)
        return attempt

    def _shown(self) -> list[Attempt]:
        if self.hidden_lists and self.attempts:
            self.hidden_lists -= 1
            return []
        return self.attempts

    def _known(self, attempt_id: str, code: str = "InvalidRequestException") -> Attempt:
        for attempt in self.attempts:
            if attempt.id == attempt_id:
                return attempt
        raise _RefusedError(code, f"{attempt_id} is not valid")

    async def _look(self, attempt: Attempt) -> None:
        """Time passes with each look."""
        if attempt.stopped or attempt.is_busy or attempt.state in _ENDS:
            return
        if attempt.is_before_its_end and attempt.script.does_job:
            attempt.is_busy = True
            await asyncio.to_thread(self._job, _arguments(attempt.request))
            attempt.is_busy = False
        attempt.looks += 1

    @staticmethod
    def _stop(attempt: Attempt) -> None:
        attempt.stopped = attempt.stopped or attempt.state not in _ENDS

    def _summary(self, application_id: str, attempt: Attempt) -> dict[str, Any]:
        state = "CANCELLED" if attempt.stopped else attempt.state
        at = attempt.created_at
        return {
            "applicationId": application_id,
            "id": attempt.id,
            "name": attempt.name,
            "arn": _arn(application_id, attempt.id),
            "createdBy": "arn:aws:sts::000000000000:assumed-role/trigger/session",
            "createdAt": at,
            "updatedAt": at,
            "executionRole": attempt.request["executionRoleArn"],
            "state": state,
            "stateDetails": attempt.script.message,
            "releaseLabel": "emr-7.13.0",
        }


class _RefusedError(Exception):
    def __init__(self, code: str, text: str) -> None:
        super().__init__(text)
        self.code = code


@contextmanager
def door(emr: ScriptedEmr, emulator: str) -> Iterator[FaultProxy]:
    """A way to these services and the emulator, with faults of its own."""
    with fault_proxy(emulator, emr) as proxy:
        yield proxy


def refused(message: str = "you may not") -> Script:
    """An attempt that cannot be launched."""
    return Script(code="refused", message=message)


def _cluster_state(attempt: Attempt) -> str:
    return "TERMINATED" if attempt.stopped else attempt.state


def _arn(application_id: str, job_run_id: str) -> str:
    return (
        f"arn:aws:emr-serverless:us-east-1:000000000000:/applications/{application_id}/jobruns/{job_run_id}"
    )


def _arguments(request: dict[str, Any]) -> list[str]:
    """Of the job, as it was submitted."""
    if "jobDriver" in request:
        return list(request["jobDriver"]["sparkSubmit"]["entryPointArguments"])
    (step,) = request["Steps"]
    return list(step["HadoopJarStep"]["Args"])
