"""Plans for all tests that only look at them, each made once."""

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.terraform import Terraform, WithEverything

PLANNED_PREFIX = "kinplan"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """They share plans, and these are made once: on one pytest worker."""
    for item in items:
        if {"plan", "plan_of_everything"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.xdist_group("terraform-plan"))


@pytest.fixture(scope="session")
def plan(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a first apply of envs/dev would make."""
    folder: Path = tmp_path_factory.mktemp("terraform") / "copy"
    terraform = Terraform(folder, PLANNED_PREFIX, endpoint)
    terraform.init()
    made = terraform.plan()
    sys.stdout.write(f"terraform plan of envs/dev: {terraform.seconds['plan']:.0f} s\n")
    return made


@pytest.fixture(scope="session")
def plan_of_everything(endpoint: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a first apply of envs/prod would make with sidecars, EMR Serverless and all else turned on."""
    folder: Path = tmp_path_factory.mktemp("terraform") / "copy"
    terraform = WithEverything(folder, PLANNED_PREFIX, endpoint)
    terraform.init()
    return terraform.plan()
