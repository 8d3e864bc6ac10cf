"""Terraform as a program, on a copy of infra/terraform that deploys to an emulator of AWS."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kinstream.errors import KinstreamError
from kinstream_devkit.deployment import terraform
from kinstream_devkit.deployment.expected import dev_variables
from tests.support.repository import ROOT

DEV_IMAGE_TAG = "test"


class Terraform(terraform.Terraform):
    """envs/dev in a folder of its own, deployed under a prefix to the emulator at an endpoint."""

    def __init__(self, folder: Path, prefix: str, endpoint: str) -> None:
        variables = dev_variables(prefix, DEV_IMAGE_TAG, endpoint, endpoint)
        super().__init__(ROOT / "infra" / "terraform", folder, "dev", variables)

    def init(self) -> None:
        """Skips the test, in words, where there is no Terraform or no AWS provider; fails it where both are
        said to be there, for then it is the configuration that cannot be initialised."""
        try:
            super().init()
        except KinstreamError as error:
            if os.environ.get("KINSTREAM_TESTS_REQUIRE_TERRAFORM"):
                pytest.fail(str(error))
            pytest.skip(str(error))


def planned(plan: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Values of the resources of a type, as they are planned to be."""
    return [resource["values"] for resource in _resources(plan) if resource["type"] == kind]


def _resources(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    left = [plan["planned_values"]["root_module"]]
    while left:
        module = left.pop()
        yield from module.get("resources", [])
        left += module.get("child_modules", [])
