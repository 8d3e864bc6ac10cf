"""Terraform as a program, on a copy of infra/terraform whose state is a file beside it."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from kinstream.errors import KinstreamError, PermanentError
from kinstream_devkit.deployment.expected import words_of
from kinstream_devkit.deployment.interruptions import undisturbed

_PROVIDER = "registry.terraform.io/hashicorp/aws"
_MIRRORS = ("/usr/share", "/usr/local/share", "/opt", str(Path.home() / ".terraform.d"))
_LOCAL_STATE = 'terraform {\n  backend "local" {}\n}\n'
# What was made there, and what a person has set for a deployment of their own.
_NOT_COPIED = (".terraform*", "*.tfstate*", "*.tfvars", "*.tfvars.json", "backend.hcl")
_STOP_SECONDS = 10

Say = Callable[[str], None]


class TerraformError(KinstreamError):
    """A command of Terraform failed."""

    def __init__(self, command: str, errors: str) -> None:
        super().__init__(f"terraform {command} failed.\n{words_of(errors)}")


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

    def __init__(self, source: Path, folder: Path, environment: str, variables: Mapping[str, Any]) -> None:
        if not (source / "envs" / environment).is_dir():
            raise PermanentError(
                f"there is no {source}/envs/{environment}; run this in the repository's folder"
            )
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*_NOT_COPIED))
        self.folder = folder / "envs" / environment
        (self.folder / "local_override.tf").write_text(_LOCAL_STATE)
        self.set(variables)
        self.seconds: dict[str, float] = {}

    def set(self, variables: Mapping[str, Any]) -> None:
        """What the next commands are told, in place of what they were told before."""
        (self.folder / "local.auto.tfvars.json").write_text(json.dumps(variables))

    def init(self) -> None:
        """Get the provider ready."""
        if not shutil.which("terraform"):
            raise PermanentError("there is no program terraform here; install version 1.9 or newer")
        plugins = plugin_dir()
        self.run("init", *([f"-plugin-dir={plugins}"] if plugins else []))

    def plan(self) -> dict[str, Any]:
        """What would be done now, as `terraform show -json` tells it."""
        self.run("plan", "-out=plan")
        plan: dict[str, Any] = json.loads(self.run("show", "-json", "plan"))
        return plan

    def apply(self, say: Say | None = None, *, refresh: bool = True) -> None:
        """Do it; without `refresh`, as if everything still were as it was left."""
        self.run("apply", "-auto-approve", f"-refresh={str(refresh).lower()}", say=say)

    def destroy(self, say: Say | None = None) -> None:
        """Undo it."""
        self.run("destroy", "-auto-approve", say=say)

    def outputs(self) -> dict[str, Any]:
        """What the environment tells, by name."""
        return {name: output["value"] for name, output in json.loads(self.run("output", "-json")).items()}

    def run(self, command: str, *arguments: str, say: Say | None = None) -> str:
        """What a command of Terraform prints, told line by line to `say`. TerraformError where it fails.

        Ended with this process: a Ctrl-C reaches both, and Terraform then ends by itself.
        """
        begun = time.monotonic()
        errors = self.folder / "errors.txt"
        program = ["terraform", command, *arguments]
        with errors.open("w") as sink:
            process = subprocess.Popen(
                program,
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
            )
            try:
                printed = "".join(_told(process, say))
            finally:
                with undisturbed():
                    _end(process)
        self.seconds[command] = round(time.monotonic() - begun, 1)
        if process.returncode:
            raise TerraformError(command, errors.read_text() or printed[-4_000:])
        return printed


def _told(process: "subprocess.Popen[str]", say: Say | None) -> Iterator[str]:
    assert process.stdout
    for line in process.stdout:
        if say and line.startswith(("module.", "aws_")):
            say(line.strip().removeprefix("module.stack."))
        yield line
    process.wait()


def _end(process: "subprocess.Popen[str]") -> None:
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


def _environment() -> dict[str, str]:
    # What a person has set for AWS is not meant for this.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TF_", "AWS_"))}
    return kept | {"CHECKPOINT_DISABLE": "1", "TF_INPUT": "0", "TF_CLI_ARGS": "-no-color"}
