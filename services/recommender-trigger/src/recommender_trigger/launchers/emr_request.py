"""What is asked of EMR for one attempt: a cluster that ends with its step, and after idle minutes anyway.

The step has a deadline of its own, so that it ends also where no trigger lives to end it.
"""

import math
from typing import Any

from recommender_trigger.domain.attempts import attempt_name
from recommender_trigger.domain.runs import Run
from recommender_trigger.job_arguments import job_arguments
from recommender_trigger.launchers.emr_common import SPARK_OPTIONS, logs_uri, run_tags, uris
from recommender_trigger.launchers.staging import StagedJob, words
from recommender_trigger.settings import TriggerSettings

_IDLE_SECONDS = 600
_KILL_AFTER_SECONDS = 60
"""How long the step has to end by itself."""
_SPOT_MINUTES = 10


def job_flow(run: Run, settings: TriggerSettings, job: StagedJob, bootstrap_uri: str) -> dict[str, Any]:
    """The RunJobFlow request."""
    named = settings.emr_security_configuration
    tags = {"for-use-with-amazon-emr-managed-policies": "true", **run_tags(run, settings)}
    return {
        "Name": attempt_name(settings.name_prefix, run),
        **({"SecurityConfiguration": named} if named else {}),
        "ReleaseLabel": settings.emr_release,
        "Applications": [{"Name": "Spark"}],
        "LogUri": logs_uri(settings),
        "ServiceRole": settings.emr_service_role,
        "JobFlowRole": settings.emr_instance_profile,
        "AutoTerminationPolicy": {"IdleTimeout": _IDLE_SECONDS},
        "StepConcurrencyLevel": 1,
        "VisibleToAllUsers": True,
        "Instances": {
            "KeepJobFlowAliveWhenNoSteps": False,
            "TerminationProtected": False,
            "Ec2SubnetIds": _subnets(run, settings),
            "InstanceFleets": _fleets(run, settings),
        },
        "BootstrapActions": [{"Name": "numpy", "ScriptBootstrapAction": {"Path": bootstrap_uri}}],
        "Steps": [_step(run, settings, job)],
        "Tags": [{"Key": key, "Value": value} for key, value in tags.items()],
    }


def _step(run: Run, settings: TriggerSettings, job: StagedJob) -> dict[str, Any]:
    # Client mode: the driver is in what is ended, and YARN lets go of the rest.
    limit = [
        "timeout",
        f"--kill-after={_KILL_AFTER_SECONDS}",
        str(math.ceil(settings.training_max_run_seconds)),
    ]
    submit = ["spark-submit", "--deploy-mode", "client", "--driver-java-options", SPARK_OPTIONS["driver"]]
    conf = ["--conf", f"spark.executor.extraJavaOptions={SPARK_OPTIONS['executor']}"]
    imports = ["--py-files", job.package]
    arguments = job_arguments(run, settings, *uris(run, settings))
    return {
        # The cluster's name, so that one rule of EventBridge hears of both.
        "Name": attempt_name(settings.name_prefix, run),
        "ActionOnFailure": "TERMINATE_CLUSTER",
        "HadoopJarStep": {
            "Jar": "command-runner.jar",
            "Args": [*limit, *submit, *conf, *imports, job.entry, *arguments],
        },
    }


def _subnets(run: Run, settings: TriggerSettings) -> list[str]:
    """Those where no attempt has failed yet, or all where none is left."""
    known = words(settings.emr_subnet_ids)
    return [subnet for subnet in known if subnet not in run.avoid] or known


def _fleets(run: Run, settings: TriggerSettings) -> list[dict[str, Any]]:
    types = [{"InstanceType": name, "WeightedCapacity": 1} for name in words(settings.emr_instance_types)]
    on_demand = {"OnDemandSpecification": {"AllocationStrategy": "lowest-price"}}
    spot = {
        "SpotSpecification": {
            "AllocationStrategy": "price-capacity-optimized",
            "TimeoutDurationMinutes": _SPOT_MINUTES,
            "TimeoutAction": "SWITCH_TO_ON_DEMAND",
        }
    }
    fleet = {"InstanceTypeConfigs": types, "LaunchSpecifications": on_demand}
    tasks = settings.emr_task_instances
    # Machines failed before: the next attempt pays for certainty.
    cheap = {"TargetSpotCapacity": tasks, **fleet, "LaunchSpecifications": spot}
    certain = {"TargetOnDemandCapacity": tasks, **fleet}
    return [
        {"Name": "master", "InstanceFleetType": "MASTER", "TargetOnDemandCapacity": 1, **fleet},
        {"Name": "core", "InstanceFleetType": "CORE", "TargetOnDemandCapacity": 1, **fleet},
        {"Name": "task", "InstanceFleetType": "TASK", **(cheap if run.attempt == 1 else certain)},
    ]
