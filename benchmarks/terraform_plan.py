"""What Terraform would make in an AWS account, without one: its plan of an environment with AWS mocked."""

import json
import tempfile
from pathlib import Path

from benchmarks.deployed import Resource
from kinstream.errors import PermanentError
from kinstream_devkit.deployment.terraform import Terraform

PREFIX = "kinstream"
_ACCOUNT = "123456789012"
_VARIABLES = {
    "prefix": PREFIX,
    "image_tag": "abc",
    "certificate_arn": f"arn:aws:acm:us-east-1:{_ACCOUNT}:certificate/abc",
    "alarm_email": "operations@example.com",
}
_OF_ENVIRONMENT = {"prod": {"budget": 2_000}}
_TEST = f"""
mock_provider "aws" {{
  mock_data "aws_iam_policy_document" {{
    defaults = {{ json = "{{}}" }}
  }}

  mock_data "aws_caller_identity" {{
    defaults = {{ account_id = "{_ACCOUNT}" }}
  }}
}}

run "plan" {{
  command = plan
}}
"""


def planned(infrastructure: Path, environment: str) -> list[Resource]:
    """All resources of an environment as they are under `infrastructure`, with the environment's own sizes.

    KinstreamError if Terraform or its AWS provider is not there, or refuses the configuration.
    """
    with tempfile.TemporaryDirectory(prefix="kinstream-plan-") as scratch:
        variables = _VARIABLES | _OF_ENVIRONMENT.get(environment, {})
        terraform = Terraform(infrastructure, Path(scratch) / "copy", environment, variables)
        terraform.init()
        tests = terraform.folder / "tests"
        tests.mkdir()
        (tests / "plan.tftest.hcl").write_text(_TEST)
        for line in terraform.run("test", "-json", "-verbose").splitlines():
            said = json.loads(line)
            if said["type"] == "test_plan":
                changes = said["test_plan"]["resource_changes"]
                return [(one["type"], one["change"]["after"]) for one in changes if one["mode"] == "managed"]
    raise PermanentError("terraform test has told no plan; version 1.9 or newer does")
