"""Terraform as a program, on a copy of infra/terraform that deploys to an emulator of AWS."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.support.repository import ROOT

SOURCE = ROOT / "infra" / "terraform"
DEV_IMAGE_TAG = "test"

_PROVIDER = "registry.terraform.io/hashicorp/aws"
_MIRRORS = ("/usr/share", "/usr/local/share", "/opt", str(Path.home() / ".terraform.d"))
_LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
_LONGEST_SECONDS = 900


def plugin_dir() -> str | None:
    """Folder in which this machine carries the AWS provider, as `terraform init -plugin-dir` takes it."""
    named = os.environ.get("KINSTREAM_TERRAFORM_PLUGINS")
    if named:
        return named
    for mirror in _MIRRORS:
        for found in Path(mirror).glob(f"*/{_PROVIDER}"):
            return str(found.parents[2])
    return None


class Terraform:
    """One environment in a folder of its own, with its state."""

    def __init__(self, folder: Path, environment: str, variables: Mapping[str, Any]) -> None:
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns(".terraform*", "*.tfstate*"))
        self.folder = folder / "envs" / environment
        (self.folder / "local_override.tf").write_text(_LOCAL_STATE)
        (self.folder / "test.auto.tfvars.json").write_text(json.dumps(variables))
        self.seconds: dict[str, float] = {}

    def init(self) -> None:
        """Skips the test, in words, where there is no Terraform or no AWS provider; fails it where both are
        said to be there, for then it is the configuration that cannot be initialised."""
        if not shutil.which("terraform"):
            _miss("needs the program terraform")
        plugins = plugin_dir()
        done = self.run("init", *([f"-plugin-dir={plugins}"] if plugins else []), check=False)
        if done.returncode:
            _miss(f"needs the AWS provider of Terraform: {done.stderr.strip()[-300:]}")

    def plan(self) -> dict[str, Any]:
        """What would be done now, as `terraform show -json` tells it."""
        self.run("plan", "-out=plan")
        plan: dict[str, Any] = json.loads(self.run("show", "-json", "plan").stdout)
        return plan

    def apply(self) -> None:
        """Do it."""
        self.run("apply", "-auto-approve")

    def destroy(self) -> None:
        """Undo it."""
        self.run("destroy", "-auto-approve")

    def run(self, command: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command of Terraform; AssertionError with its words where it fails."""
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))
        }
        begun = time.monotonic()
        done = subprocess.run(
            ["terraform", command, *arguments],
            cwd=self.folder,
            env=environment | {"CHECKPOINT_DISABLE": "1", "TF_INPUT": "0", "TF_CLI_ARGS": "-no-color"},
            capture_output=True,
            text=True,
            check=False,
            timeout=_LONGEST_SECONDS,
        )
        self.seconds[command] = round(time.monotonic() - begun, 1)
        assert not check or done.returncode == 0, (
            f"terraform {command}:\n{done.stdout[-2000:]}\n{done.stderr[-6000:]}"
        )
        return done


def _miss(what: str) -> None:
    if os.environ.get("KINSTREAM_TESTS_REQUIRE_TERRAFORM"):
        pytest.fail(what)
    pytest.skip(what)


def dev_variables(prefix: str, endpoint: str) -> dict[str, Any]:
    """Variables by which envs/dev deploys to an emulator."""
    return {
        "prefix": prefix,
        "image_tag": DEV_IMAGE_TAG,
        "emulator": {"url": endpoint, "seen_by_tasks": endpoint},
        "alarm_email": "operations@example.com",
    }


def planned(plan: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Values of the resources of a type, as they are planned to be."""
    return [resource["values"] for resource in _resources(plan) if resource["type"] == kind]


def changed(plan: Mapping[str, Any]) -> set[str]:
    """Types of the resources that a plan would touch."""
    return {
        change["type"]
        for change in plan.get("resource_changes", [])
        if change["mode"] == "managed" and change["change"]["actions"] not in (["no-op"], ["read"])
    }


def _resources(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    left = [plan["planned_values"]["root_module"]]
    while left:
        module = left.pop()
        yield from module.get("resources", [])
        left += module.get("child_modules", [])
