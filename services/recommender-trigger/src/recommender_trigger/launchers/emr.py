"""Spark on a transient EMR cluster: one cluster an attempt, which ends itself.

RunJobFlow has no client token. The run's row is written first, its id is in the cluster's name, and `find`
looks for that name before anything is launched, so that a trigger that died in between leaves no second
cluster.
"""

from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from kinstream.errors import PermanentError
from kinstream.resources import BUCKET_TRAINING
from recommender_trigger.domain.attempts import Launched, attempt_name, launched_of
from recommender_trigger.domain.failures import Cause, cause_of_cluster
from recommender_trigger.domain.runs import Run
from recommender_trigger.launchers.base import Progress, Status
from recommender_trigger.launchers.emr_common import (
    REASON_CHARACTERS,
    TAG_DEPLOYMENT,
    created_after,
    error_code,
    logs_uri,
)
from recommender_trigger.launchers.emr_request import job_flow
from recommender_trigger.launchers.staging import staged, staged_job
from recommender_trigger.settings import TriggerSettings

# pyspark.ml needs numpy, which EMR's Python has not.
BOOTSTRAP = b"#!/bin/bash\nset -euo pipefail\nsudo python3 -m pip install --quiet 'numpy>=1.26,<2.1'\n"
NO_SUBNETS = (
    "Training on EMR needs KINSTREAM_EMR_SUBNET_IDS: the subnets, with commas between, for its clusters."
)
_ENDING = "TERMINATING"
_WORKING = ("STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING")
_UNKNOWN_CLUSTER = "InvalidRequestException"
_FORBIDDEN = "AccessDeniedException"
_REFUSED = ("ValidationException", _UNKNOWN_CLUSTER, _FORBIDDEN)


class EmrLauncher:
    """Runs on clusters that any trigger can follow: a handle is a cluster's id."""

    name = "emr"

    def __init__(self, emr: Any, s3: Any, settings: TriggerSettings) -> None:
        self._emr = emr
        self._s3 = s3
        self._settings = settings
        self._training = settings.names.of(BUCKET_TRAINING)

    async def unavailable(self) -> str | None:
        return None if self._settings.emr_subnet_ids else NO_SUBNETS

    async def find(self, run: Run) -> str | None:
        name = attempt_name(self._settings.name_prefix, run)
        found = [c for c in await self._clusters(CreatedAfter=created_after(run)) if c["Name"] == name]
        # Where it was launched twice, the one that works: the other is ended as an orphan.
        found.sort(key=lambda cluster: cluster["Status"]["State"] not in _WORKING)
        return str(found[0]["Id"]) if found else None

    async def launch(self, run: Run) -> str:
        job = await staged_job(self._s3, self._training)
        bootstrap_uri = await staged(self._s3, self._training, "bootstrap.sh", BOOTSTRAP)
        request = job_flow(run, self._settings, job, bootstrap_uri)
        try:
            answer = await self._emr.run_job_flow(**request)
        except ClientError as error:
            if error_code(error) in _REFUSED:
                raise PermanentError(f"EMR refuses the cluster: {error}"[:REASON_CHARACTERS]) from error
            raise
        return str(answer["JobFlowId"])

    async def status(self, run: Run) -> Status:
        try:
            cluster = (await self._emr.describe_cluster(ClusterId=run.handle))["Cluster"]
        except ClientError as error:
            if error_code(error) != _UNKNOWN_CLUSTER:
                raise
            return Status(Progress.FAILED, f"EMR knows no cluster {run.handle} any more")
        if cluster["Status"]["State"] in (*_WORKING, _ENDING):
            return Status(Progress.RUNNING)
        steps = (await self._emr.list_steps(ClusterId=run.handle))["Steps"]
        # A cluster that ended well is no proof: the step is, and then the job's manifest.
        if [step["Status"]["State"] for step in steps] == ["COMPLETED"]:
            return Status(Progress.SUCCEEDED)
        return self._failure(cluster, steps)

    async def terminate(self, run: Run) -> None:
        cluster = run.handle or await self.find(run)
        if cluster:
            await self.end(cluster)

    async def at_work(self) -> Sequence[Launched]:
        clusters = await self._clusters(ClusterStates=list(_WORKING))
        named = (launched_of(self._settings.name_prefix, c["Name"], str(c["Id"])) for c in clusters)
        return [one for one in named if one and await self._is_ours(one.handle)]

    async def end(self, handle: str) -> None:
        try:
            await self._emr.terminate_job_flows(JobFlowIds=[handle])
        except ClientError as error:
            if error_code(error) != _UNKNOWN_CLUSTER:
                raise

    async def let_go(self, run: Run) -> None:
        """The cluster goes on, for the next trigger to adopt."""

    async def _clusters(self, **which: Any) -> list[dict[str, Any]]:
        pages = self._emr.get_paginator("list_clusters").paginate(**which)
        return [cluster async for page in pages for cluster in page["Clusters"]]

    async def _is_ours(self, cluster_id: str) -> bool:
        """By its tag: a name is anybody's to give."""
        try:
            cluster = (await self._emr.describe_cluster(ClusterId=cluster_id))["Cluster"]
        except ClientError as error:
            if error_code(error) in (_UNKNOWN_CLUSTER, _FORBIDDEN):
                return False
            raise
        tags = {tag["Key"]: tag["Value"] for tag in cluster.get("Tags", [])}
        return tags.get(TAG_DEPLOYMENT) == self._settings.name_prefix

    def _failure(self, cluster: dict[str, Any], steps: list[dict[str, Any]]) -> Status:
        change = cluster["Status"].get("StateChangeReason", {})
        details = [step["Status"].get("FailureDetails", {}) for step in steps]
        log_files = [detail["LogFile"] for detail in details if detail.get("LogFile")]
        cause = cause_of_cluster(change.get("Code", ""))
        # A step that failed says more than a cluster that was ended because of it.
        if cause is Cause.STOPPED and any(step["Status"]["State"] == "FAILED" for step in steps):
            cause = Cause.JOB
        return Status(
            Progress.FAILED,
            _reason(cluster["Status"]["State"], change, steps),
            cause,
            log_files[0] if log_files else f"{logs_uri(self._settings)}{cluster['Id']}/",
            cluster.get("Ec2InstanceAttributes", {}).get("Ec2SubnetId"),
        )


def _reason(state: str, change: dict[str, Any], steps: list[dict[str, Any]]) -> str:
    parts = [f"the cluster ended as {state}", change.get("Code", ""), change.get("Message", "")]
    for step in steps:
        details = step["Status"].get("FailureDetails", {})
        parts += [
            f"its step as {step['Status']['State']}",
            details.get("Reason", ""),
            details.get("Message", ""),
        ]
    return ", ".join(part for part in parts if part)[:REASON_CHARACTERS]
