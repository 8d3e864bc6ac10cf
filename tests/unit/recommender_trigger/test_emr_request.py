"""What is asked of EMR."""

from typing import Any

import pytest

from recommender_trigger.domain.runs import Run, State
from recommender_trigger.emr_events import handle_of
from recommender_trigger.launchers.emr_request import job_flow
from recommender_trigger.launchers.emr_serverless import job_run_request
from recommender_trigger.launchers.staging import StagedJob
from recommender_trigger.settings import TriggerSettings

JOB = StagedJob("s3://jobs/train.py", "s3://jobs/job.zip")


def _request(run: Run | None = None, **settings: Any) -> dict[str, Any]:
    known = TriggerSettings(**({"emr_subnet_ids": "subnet-1, subnet-2"} | settings))
    run = run or Run("app", "r-1", State.LAUNCHING, 0)
    return job_flow(run, known, JOB, "s3://jobs/boot.sh")


@pytest.mark.parametrize(("named", "asked"), [("kin-training", {"kin-training"}), (None, set()), ("", set())])
def test_cluster_has_the_security_configuration_that_is_named(named: str | None, asked: set[str]) -> None:
    request = _request(emr_security_configuration=named)
    assert {value for key, value in request.items() if key == "SecurityConfiguration"} == asked


def test_cluster_ends_by_itself_and_says_whose_it_is():
    request = _request()
    assert not request["Instances"]["KeepJobFlowAliveWhenNoSteps"]
    assert not request["Instances"]["TerminationProtected"]
    assert request["AutoTerminationPolicy"] == {"IdleTimeout": 600}
    assert [step["ActionOnFailure"] for step in request["Steps"]] == ["TERMINATE_CLUSTER"]
    assert {tag["Key"]: tag["Value"] for tag in request["Tags"]} == {
        "for-use-with-amazon-emr-managed-policies": "true",
        "kinstream-deployment": "kinstream",
        "kinstream-run": "r-1",
    }


def test_step_ends_at_the_deadline_also_where_no_trigger_lives():
    (step,) = _request(training_max_run_seconds=90.5)["Steps"]
    args = step["HadoopJarStep"]["Args"]
    assert args[:4] == ["timeout", "--kill-after=60", "91", "spark-submit"]
    assert args[args.index("--deploy-mode") + 1] == "client", "what is ended is the driver itself"


def test_next_attempt_is_elsewhere_and_on_demand():
    first = _request()["Instances"]
    again = Run("app", "r-1", State.LAUNCHING, 0, attempt=2, avoid=("subnet-1",))
    second = _request(again)["Instances"]
    assert (first["Ec2SubnetIds"], second["Ec2SubnetIds"]) == (["subnet-1", "subnet-2"], ["subnet-2"])
    assert ["TargetSpotCapacity" in fleet for fleet in first["InstanceFleets"]] == [False, False, True]
    assert not any("TargetSpotCapacity" in fleet for fleet in second["InstanceFleets"])


def test_subnets_are_taken_again_when_all_have_failed():
    again = Run("app", "r-1", State.LAUNCHING, 0, attempt=3, avoid=("subnet-1", "subnet-2"))
    assert _request(again)["Instances"]["Ec2SubnetIds"] == ["subnet-1", "subnet-2"]


def test_job_run_has_the_same_job_and_arguments_as_a_step():
    run = Run("app", "r-1", State.LAUNCHING, 0)
    settings = TriggerSettings(emr_serverless_application_id="a1", emr_subnet_ids="subnet-1")
    step = job_flow(run, settings, JOB, "s3://b")["Steps"][0]["HadoopJarStep"]["Args"]
    submit = job_run_request(run, settings, JOB)["jobDriver"]["sparkSubmit"]
    at = step.index(JOB.entry)
    assert [submit["entryPoint"], *submit["entryPointArguments"]] == step[at:]
    assert f"--py-files {JOB.package}" in submit["sparkSubmitParameters"]
    assert step[step.index("--py-files") + 1] == JOB.package


def test_job_run_brings_its_python_where_one_is_set():
    run = Run("app", "r-1", State.LAUNCHING, 0)
    settings = TriggerSettings(emr_serverless_python_uri="s3://jobs/python.tar.gz")
    text = job_run_request(run, settings, JOB)["jobDriver"]["sparkSubmit"]["sparkSubmitParameters"]
    assert "--conf spark.archives=s3://jobs/python.tar.gz#environment" in text


@pytest.mark.parametrize(
    ("body", "handle"),
    [
        ('{"source": "aws.emr", "detail": {"clusterId": "j-1", "state": "TERMINATED"}}', "j-1"),
        ('{"source": "aws.emr-serverless", "detail": {"jobRunId": "00f1", "state": "SUCCESS"}}', "00f1"),
        ('{"detail": {"clusterId": 7}}', None),
        ('{"detail": "x"}', None),
        ("[]", None),
        ("no JSON", None),
    ],
)
def test_event_tells_what_it_is_about(body: str, handle: str | None):
    assert handle_of(body) == handle
