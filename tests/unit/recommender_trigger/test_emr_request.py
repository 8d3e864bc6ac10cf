"""What is asked of EMR."""

import pytest

from recommender_trigger.domain.runs import Run, State
from recommender_trigger.launchers.emr import job_flow
from recommender_trigger.settings import TriggerSettings


@pytest.mark.parametrize(("named", "asked"), [("kin-training", {"kin-training"}), (None, set()), ("", set())])
def test_cluster_has_the_security_configuration_that_is_named(named: str | None, asked: set[str]) -> None:
    settings = TriggerSettings(emr_subnet_ids="subnet-1", emr_security_configuration=named)
    request = job_flow(
        Run("app", "r-1", State.LAUNCHING, 0),
        settings,
        "s3://jobs/train.py",
        "s3://jobs/job.zip",
        "s3://jobs/boot.sh",
    )
    assert {value for key, value in request.items() if key == "SecurityConfiguration"} == asked
