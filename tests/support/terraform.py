"""Terraform as a program, on a copy of infra/terraform that deploys to an emulator of AWS."""

import json
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


PEER = {"vpc_id": "vpc-0000000000000000f", "cidr": "10.90.0.0/16"}
BOUNDARY = "arn:aws:iam::000000000000:policy/boundary"
_REGISTRY = "000000000000.dkr.ecr.us-east-1.amazonaws.com"
_WITH_EVERYTHING: Mapping[str, Any] = {
    "image_tag": DEV_IMAGE_TAG,
    "alarm_email": "operations@example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:000000000000:certificate/x",
    "budget": 2_000,
    "sidecars": {
        "adot": f"{_REGISTRY}/adot:1",
        "log_router": f"{_REGISTRY}/fluent-bit:1",
        "repository_arns": ["arn:aws:ecr:us-east-1:000000000000:repository/adot"],
    },
    "search": {},
    "emr_serverless": {},
    "emr_peer": PEER,
    "permissions_boundary": BOUNDARY,
}


class _Terraform(terraform.Terraform):
    def init(self) -> None:
        """Skips the test, in words, where there is no Terraform or no AWS provider; fails it where both are
        said to be there, for then it is the configuration that cannot be initialised."""
        try:
            super().init()
        except KinstreamError as error:
            if os.environ.get("KINSTREAM_TESTS_REQUIRE_TERRAFORM"):
                pytest.fail(str(error))
            pytest.skip(str(error))


class Terraform(_Terraform):
    """envs/dev in a folder of its own, deployed under a prefix to the emulator at an endpoint."""

    def __init__(self, folder: Path, prefix: str, endpoint: str) -> None:
        variables = dev_variables(prefix, DEV_IMAGE_TAG, endpoint, endpoint)
        super().__init__(ROOT / "infra" / "terraform", folder, "dev", variables)


class WithEverything(_Terraform):
    """envs/prod with all that can be turned on, as it would be on AWS; only to be planned.

    An emulator at an endpoint says which account this is.
    """

    def __init__(self, folder: Path, prefix: str, endpoint: str) -> None:
        super().__init__(ROOT / "infra" / "terraform", folder, "prod", {**_WITH_EVERYTHING, "prefix": prefix})
        provider = {
            "access_key": "test",
            "secret_key": "test",
            "skip_credentials_validation": True,
            "skip_metadata_api_check": True,
            "endpoints": {"sts": endpoint, "iam": endpoint},
        }
        (self.folder / "provider_override.tf.json").write_text(json.dumps({"provider": {"aws": provider}}))


def planned(plan: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Values of the resources of a type, as they are planned to be."""
    return [resource["values"] for resource in _resources(plan) if resource["type"] == kind]


def _resources(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    left = [plan["planned_values"]["root_module"]]
    while left:
        module = left.pop()
        yield from module.get("resources", [])
        left += module.get("child_modules", [])
