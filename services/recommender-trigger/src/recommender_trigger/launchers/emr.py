"""Spark on a transient EMR cluster: one cluster a run, which ends itself.

RunJobFlow has no client token. The run's row is written first, its id is the cluster's name, and `find` looks
for that name before anything is launched, so that a trigger that died in between leaves no second cluster.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from kinstream.errors import PermanentError
from kinstream.resources import BUCKET_ARCHIVE, BUCKET_TRAINING
from recommender_trigger.domain.runs import Run
from recommender_trigger.job_arguments import job_arguments
from recommender_trigger.job_package import FILE_NAME, package
from recommender_trigger.launchers.base import Progress, Status
from recommender_trigger.settings import TriggerSettings

JOB = Path(__file__).parent.parent / "job" / "train.py"
# pyspark.ml needs numpy, which EMR's Python has not.
BOOTSTRAP = b"#!/bin/bash\nset -euo pipefail\nsudo python3 -m pip install --quiet 'numpy>=1.26,<2.1'\n"
NO_SUBNETS = (
    "Training on EMR needs KINSTREAM_EMR_SUBNET_IDS: the subnets, with commas between, for its clusters."
)
_ALIVE = ["STARTING", "BOOTSTRAPPING", "RUNNING", "WAITING", "TERMINATING"]
_IDLE_SECONDS = 600
_SPOT_MINUTES = 10
_REASON_CHARACTERS = 400
_REFUSED = ("ValidationException", "InvalidRequestException", "AccessDeniedException")


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
        pages = self._emr.get_paginator("list_clusters").paginate(
            CreatedAfter=datetime.fromtimestamp(run.launched_at_ms / 1000 - 60, UTC)
        )
        async for page in pages:
            for cluster in page["Clusters"]:
                if cluster["Name"] == cluster_name(run, self._settings):
                    return str(cluster["Id"])
        return None

    async def launch(self, run: Run) -> str:
        job_uri = await self._upload("train.py", JOB.read_bytes())
        package_uri = await self._upload(FILE_NAME, package())
        bootstrap_uri = await self._upload("bootstrap.sh", BOOTSTRAP)
        request = job_flow(run, self._settings, job_uri, package_uri, bootstrap_uri)
        try:
            answer = await self._emr.run_job_flow(**request)
        except ClientError as error:
            if error.response["Error"]["Code"] in _REFUSED:
                raise PermanentError(f"EMR refuses the cluster: {error}"[:_REASON_CHARACTERS]) from error
            raise
        return str(answer["JobFlowId"])

    async def status(self, run: Run) -> Status:
        cluster = (await self._emr.describe_cluster(ClusterId=run.handle))["Cluster"]["Status"]
        if cluster["State"] in _ALIVE:
            return Status(Progress.RUNNING)
        steps = (await self._emr.list_steps(ClusterId=run.handle))["Steps"]
        # A cluster that ended well is no proof: the step is, and then the job's manifest.
        if [step["Status"]["State"] for step in steps] == ["COMPLETED"]:
            return Status(Progress.SUCCEEDED)
        return Status(Progress.FAILED, _reason(cluster, steps))

    async def terminate(self, run: Run) -> None:
        cluster = run.handle or await self.find(run)
        if cluster:
            await self._emr.terminate_job_flows(JobFlowIds=[cluster])

    async def let_go(self, run: Run) -> None:
        """The cluster goes on, for the next trigger to adopt."""

    async def _upload(self, name: str, body: bytes) -> str:
        """Under its content's hash: a run never sees a file that a later release replaced."""
        key = f"jobs/{hashlib.sha256(body).hexdigest()[:16]}/{name}"
        await self._s3.put_object(Bucket=self._training, Key=key, Body=body)
        return f"s3://{self._training}/{key}"


def cluster_name(run: Run, settings: TriggerSettings) -> str:
    """The name by which a run's cluster is found again."""
    return f"{settings.name_prefix}-training-{run.run_id}"


def job_flow(
    run: Run, settings: TriggerSettings, job_uri: str, package_uri: str, bootstrap_uri: str
) -> dict[str, Any]:
    """The RunJobFlow request: a cluster that ends with its one step, and after ten idle minutes anyway."""
    training = f"s3://{settings.names.of(BUCKET_TRAINING)}"
    archive = f"s3://{settings.names.of(BUCKET_ARCHIVE)}/{run.archive_prefix}"
    submit = ["spark-submit", "--deploy-mode", "client", "--driver-java-options", "-Xss16m"]
    conf = ["--conf", "spark.executor.extraJavaOptions=-Xss16m", "--py-files", package_uri]
    arguments = job_arguments(run, settings, archive, f"{training}/{run.folder.rstrip('/')}")
    step = {
        "Name": run.run_id,
        "ActionOnFailure": "TERMINATE_CLUSTER",
        "HadoopJarStep": {"Jar": "command-runner.jar", "Args": [*submit, *conf, job_uri, *arguments]},
    }
    named = settings.emr_security_configuration
    return {
        "Name": cluster_name(run, settings),
        **({"SecurityConfiguration": named} if named else {}),
        "ReleaseLabel": settings.emr_release,
        "Applications": [{"Name": "Spark"}],
        "LogUri": f"{training}/logs/",
        "ServiceRole": settings.emr_service_role,
        "JobFlowRole": settings.emr_instance_profile,
        "AutoTerminationPolicy": {"IdleTimeout": _IDLE_SECONDS},
        "StepConcurrencyLevel": 1,
        "VisibleToAllUsers": True,
        "Instances": {
            "KeepJobFlowAliveWhenNoSteps": False,
            "TerminationProtected": False,
            "Ec2SubnetIds": _words(settings.emr_subnet_ids),
            "InstanceFleets": _fleets(settings),
        },
        "BootstrapActions": [{"Name": "numpy", "ScriptBootstrapAction": {"Path": bootstrap_uri}}],
        "Steps": [step],
        "Tags": [
            {"Key": "for-use-with-amazon-emr-managed-policies", "Value": "true"},
            {"Key": "kinstream-run", "Value": run.run_id},
        ],
    }


def _fleets(settings: TriggerSettings) -> list[dict[str, Any]]:
    types = [{"InstanceType": name, "WeightedCapacity": 1} for name in _words(settings.emr_instance_types)]
    on_demand = {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}}
    spot = {
        "SpotSpecification": {
            "AllocationStrategy": "price-capacity-optimized",
            "TimeoutDurationMinutes": _SPOT_MINUTES,
            "TimeoutAction": "SWITCH_TO_ON_DEMAND",
        }
    }
    fleet = {"InstanceTypeConfigs": types, "LaunchSpecifications": on_demand}
    return [
        {"Name": "master", "InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, **fleet},
        {"Name": "core", "InstanceFleetType": "CORE", "TargetOnDemandCapacity": 1, **fleet},
        {
            "Name": "task",
            "InstanceFleetType": "TASK",
            "TargetSpotCapacity": settings.emr_task_instances,
            **fleet,
            "LaunchSpecifications": spot,
        },
    ]


def _reason(cluster: dict[str, Any], steps: list[dict[str, Any]]) -> str:
    change = cluster.get("StateChangeReason", {})
    parts = [f"the cluster ended as {cluster['State']}", change.get("Code", ""), change.get("Message", "")]
    for step in steps:
        parts += [
            f"its step as {step['Status']['State']}",
            step["Status"].get("FailureDetails", {}).get("Reason", ""),
        ]
    return ", ".join(part for part in parts if part)[:_REASON_CHARACTERS]


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
