"""Spark on EMR Serverless: one job run an attempt, on an application that is there already.

Simpler than clusters: a client token makes launching twice the same as once, and the service itself ends a
job run that takes too long. There are no subnets to change and no spot market to leave.
"""

import math
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import ClientError

from kinstream.errors import PermanentError
from kinstream.resources import BUCKET_TRAINING
from recommender_trigger.domain.attempts import Launched, attempt_name, launched_of
from recommender_trigger.domain.failures import cause_of_job_run
from recommender_trigger.domain.runs import Run, Usage
from recommender_trigger.job_arguments import job_arguments
from recommender_trigger.launchers.base import Progress, Status
from recommender_trigger.launchers.emr_common import (
    REASON_CHARACTERS,
    SPARK_OPTIONS,
    created_after,
    error_code,
    logs_uri,
    run_tags,
    uris,
)
from recommender_trigger.launchers.staging import StagedJob, staged_job
from recommender_trigger.settings import TriggerSettings

NOT_SET = (
    "Training on EMR Serverless needs KINSTREAM_EMR_SERVERLESS_APPLICATION_ID and "
    "KINSTREAM_EMR_SERVERLESS_ROLE_ARN: a Spark application, and the role that its jobs have."
)
_WORKING = ("SUBMITTED", "QUEUED", "PENDING", "SCHEDULED", "RUNNING")
_ENDING = "CANCELLING"
_SUCCESS = "SUCCESS"
_GONE = "ResourceNotFoundException"
_REFUSED = ("ValidationException", _GONE, "AccessDeniedException", "ConflictException")


class EmrServerlessLauncher:
    """Job runs that any trigger can follow: a handle is a job run's id."""

    name = "emr-serverless"

    def __init__(self, serverless: Any, s3: Any, settings: TriggerSettings) -> None:
        self._serverless = serverless
        self._s3 = s3
        self._settings = settings
        self._training = settings.names.of(BUCKET_TRAINING)
        self._application = settings.emr_serverless_application_id

    async def unavailable(self) -> str | None:
        return None if self._application and self._settings.emr_serverless_role_arn else NOT_SET

    async def find(self, run: Run) -> str | None:
        name = attempt_name(self._settings.name_prefix, run)
        for job_run in await self._job_runs(createdAtAfter=created_after(run)):
            if job_run.get("name") == name:
                return str(job_run["id"])
        return None

    async def launch(self, run: Run) -> str:
        job = await staged_job(self._s3, self._training)
        try:
            answer = await self._serverless.start_job_run(**job_run_request(run, self._settings, job))
        except ClientError as error:
            if error_code(error) in _REFUSED:
                text = f"EMR Serverless refuses the job run: {error}"
                raise PermanentError(text[:REASON_CHARACTERS]) from error
            raise
        return str(answer["jobRunId"])

    async def status(self, run: Run) -> Status:
        try:
            answer = await self._serverless.get_job_run(applicationId=self._application, jobRunId=run.handle)
        except ClientError as error:
            if error_code(error) != _GONE:
                raise
            return Status(Progress.FAILED, f"EMR Serverless knows no job run {run.handle} any more")
        job_run = answer["jobRun"]
        state, details = job_run["state"], job_run.get("stateDetails", "")
        if state in (*_WORKING, _ENDING):
            return Status(Progress.RUNNING)
        if state == _SUCCESS:
            return Status(Progress.SUCCEEDED, usage=_usage(job_run))
        return Status(
            Progress.FAILED,
            f"the job run ended as {state}, {details}".rstrip(", ")[:REASON_CHARACTERS],
            cause_of_job_run(state, details),
            f"{logs_uri(self._settings)}applications/{self._application}/jobs/{run.handle}/",
            usage=_usage(job_run),
        )

    async def terminate(self, run: Run) -> None:
        job_run = run.handle or await self.find(run)
        if job_run:
            await self.end(job_run)

    async def at_work(self) -> Sequence[Launched]:
        job_runs = await self._job_runs(states=list(_WORKING))
        prefix = self._settings.name_prefix
        named = (launched_of(prefix, one.get("name", ""), str(one["id"])) for one in job_runs)
        return [one for one in named if one]

    async def end(self, handle: str) -> None:
        try:
            await self._serverless.cancel_job_run(applicationId=self._application, jobRunId=handle)
        except ClientError as error:
            # ValidationException is what it says of one that has ended.
            if error_code(error) not in (_GONE, "ValidationException"):
                raise

    async def let_go(self, run: Run) -> None:
        """The job run goes on, for the next trigger to adopt."""

    async def _job_runs(self, **which: Any) -> list[dict[str, Any]]:
        pages = self._serverless.get_paginator("list_job_runs").paginate(
            applicationId=self._application, **which
        )
        return [job_run async for page in pages for job_run in page["jobRuns"]]


def _usage(job_run: dict[str, Any]) -> Usage | None:
    """What was billed for, or used where that is not told yet."""
    told = job_run.get("billedResourceUtilization") or job_run.get("totalResourceUtilization")
    if not told:
        return None
    return Usage(*(float(told.get(name, 0)) for name in ("vCPUHour", "memoryGBHour", "storageGBHour")))


def job_run_request(run: Run, settings: TriggerSettings, job: StagedJob) -> dict[str, Any]:
    """The StartJobRun request: the same job file and arguments as on a cluster."""
    conf = {f"spark.{who}.extraJavaOptions": options for who, options in SPARK_OPTIONS.items()}
    if settings.emr_serverless_python_uri:
        python = "./environment/bin/python"
        conf |= {
            "spark.archives": f"{settings.emr_serverless_python_uri}#environment",
            "spark.emr-serverless.driverEnv.PYSPARK_DRIVER_PYTHON": python,
            "spark.emr-serverless.driverEnv.PYSPARK_PYTHON": python,
            "spark.executorEnv.PYSPARK_PYTHON": python,
        }
    options = [f"--py-files {job.package}", *(f"--conf {name}={value}" for name, value in conf.items())]
    submit = {
        "entryPoint": job.entry,
        "entryPointArguments": job_arguments(run, settings, *uris(run, settings)),
        "sparkSubmitParameters": " ".join(options),
    }
    logs = {"s3MonitoringConfiguration": {"logUri": logs_uri(settings)}}
    return {
        "applicationId": settings.emr_serverless_application_id,
        "clientToken": f"{run.run_id}-{run.attempt}",
        "executionRoleArn": settings.emr_serverless_role_arn,
        "executionTimeoutMinutes": math.ceil(settings.training_max_run_seconds / 60),
        "name": attempt_name(settings.name_prefix, run),
        "jobDriver": {"sparkSubmit": submit},
        "configurationOverrides": {"monitoringConfiguration": logs},
        "tags": run_tags(run, settings),
    }
