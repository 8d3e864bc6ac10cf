"""envs/dev is really applied, to an emulator: it comes up, stays as it is, and goes away again."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from kinstream.resources import Names, describe
from kinstream.settings import CoreSettings
from kinstream_devkit.deployment import emulator_main
from kinstream_devkit.deployment.expected import DRIFTING, changed
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.aws_state import AwsState, State
from tests.support.ministack import ministack
from tests.support.terraform import Terraform

PREFIX = "kinapply"
PROVISIONED_PREFIX = "kinbyhand"

pytestmark = [
    pytest.mark.timeout(1_200),
    pytest.mark.skipif("KINSTREAM_TERRAFORM_APPLY" not in os.environ, reason="`make test-terraform` runs it"),
]

EMULATOR = [sys.executable, emulator_main.__file__]
"""With a memory of what Terraform has asked for."""

WITHOUT_DOCKER = {"DOCKER_HOST": "unix:///nowhere"}
"""Databases, caches and tasks are then recorded and not started."""


@dataclass(frozen=True)
class Life:
    """What was seen of a deployment from its start to its end."""

    made: State
    provisioned: State
    drifted: set[str]
    left_in_state: str
    left: set[str]


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Life:
    """One deployment, applied and destroyed."""
    folder: Path = tmp_path_factory.mktemp("terraform") / "copy"
    processors = processor_queues()
    with ministack(variables=WITHOUT_DOCKER, command=EMULATOR) as endpoint:
        terraform = Terraform(folder, PREFIX, endpoint)
        terraform.init()
        terraform.apply()
        provision(CoreSettings(name_prefix=PROVISIONED_PREFIX, aws_endpoint_url=endpoint), processors)
        aws = AwsState(endpoint)
        made, provisioned = (
            aws.of(describe(Names(prefix), processors)) for prefix in (PREFIX, PROVISIONED_PREFIX)
        )
        drifted = changed(terraform.plan())
        terraform.destroy()
        left_in_state = terraform.run("state", "list")
        return Life(made, provisioned, drifted, left_in_state, aws.named(PREFIX))


@pytest.mark.parametrize("kind", ["tables", "queues", "subscriptions", "buckets"])
def test_terraform_makes_what_the_provisioner_makes(life: Life, kind: str) -> None:
    assert life.made[kind] == life.provisioned[kind]


def test_second_plan_changes_nothing_but_what_the_emulator_tells_otherwise(life: Life) -> None:
    assert life.drifted <= DRIFTING


def test_destroy_leaves_nothing(life: Life) -> None:
    assert not life.left_in_state.strip()
    assert not life.left
