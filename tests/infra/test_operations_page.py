"""docs/operations.md leads somebody who follows it word for word, on an emulator, to the end."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kinstream_devkit.deployment import emulator
from kinstream_devkit.deployment.engine import docker, image_names
from kinstream_devkit.deployment.terraform import plugin_dir
from kinstream_devkit.embedded.emulator import console_script
from tests.support.containers import POSTGRES, REDIS, require_containers
from tests.support.operations_page import OperationsPage
from tests.support.repository import ROOT

WHOLE_SECONDS = 2_400
STOP_SECONDS = 120


@pytest.fixture
def script() -> str:
    """What somebody types who follows the page on an emulator."""
    return OperationsPage((ROOT / "docs/operations.md").read_text()).script()


def test_all_that_the_page_says_to_type_is_a_script_that_a_shell_reads(script: str, tmp_path: Path):
    file = tmp_path / "script"
    file.write_text(script)
    read = subprocess.run(["bash", "-n", file], capture_output=True, text=True, check=False)
    assert (read.returncode, read.stderr) == (0, "")
    assert script.count("terraform apply") == 5
    for left in ("acme-kinstream", "envs/prod", "YOUR-", "HOST:", "kw_...", "PREFIX"):
        assert left not in script


@pytest.mark.timeout(WHOLE_SECONDS + 2 * STOP_SECONDS)
@pytest.mark.skipif("KINSTREAM_OPERATIONS_PAGE" not in os.environ, reason="`make test-operations` runs it")
# There is one address at which tasks ask for credentials.
@pytest.mark.xdist_group("compose")
def test_somebody_who_follows_the_page_word_for_word_gets_to_the_end(script: str, tmp_path: Path):
    require_containers(POSTGRES, REDIS)
    if not shutil.which("aws"):
        pytest.skip("there is no AWS command line here")
    repository = tmp_path / "repository"
    made_there = shutil.ignore_patterns(".terraform*", "*.tfstate*", "*.tfvars", "backend.hcl")
    shutil.copytree(ROOT / "infra/terraform", repository / "infra/terraform", ignore=made_there)
    (repository / ".venv").symlink_to(console_script("kinstream").parents[1])
    with other_terminal() as exports:
        typed = tmp_path / "typed"
        typed.write_text(f"{exports}\n{script}")
        plugins = plugin_dir()
        init = {"TF_CLI_ARGS_init": f"-no-color -plugin-dir={plugins}"} if plugins else {}
        followed = subprocess.run(
            ["bash", typed], cwd=repository, env=os.environ | init, timeout=WHOLE_SECONDS, check=False
        )
    left = [name for name in image_names() if "/kinstream-local/" in name]
    for name in left:
        docker("rmi", "--no-prune", name)
    assert followed.returncode == 0
    assert len(left) == 8  # as the page says
    assert emulator.clean() == 0


@contextmanager
def other_terminal() -> Iterator[str]:
    """What the page's other terminal prints for the shell; Ctrl-C there at the end."""
    command = [str(console_script("kinstream")), "deploy-local", "--emulator-only"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        told = []
        for line in process.stdout:
            told.append(line)
            if line.startswith("Say this"):
                break
        yield "".join(line for line in told if line.startswith(("unset", "export")))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=STOP_SECONDS)
