"""`kinstream deploy-local`, for real: all of it agrees, and nothing is left however it ends."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from kinstream_devkit.deployment import emulator
from kinstream_devkit.deployment.engine import containers, docker, image_names, network_exists
from kinstream_devkit.embedded.emulator import console_script
from tests.support.containers import POSTGRES, REDIS, require_containers
from tests.support.repository import ROOT
from tests.support.stack import eventually

COMMAND = [str(console_script("kinstream")), "deploy-local"]
CUSTOMERS = "16"
"""Enough to use each permission that the demo uses."""
WHOLE_SECONDS = 1_200
START_SECONDS = 240
STOP_SECONDS = 60

pytestmark = [
    pytest.mark.timeout(WHOLE_SECONDS + START_SECONDS),
    pytest.mark.skipif("KINSTREAM_DEPLOY_LOCAL" not in os.environ, reason="`make test-deploy-local` runs it"),
    # There is one address at which tasks ask for credentials; and the images are those of compose's tests.
    pytest.mark.xdist_group("compose"),
]


@pytest.fixture(autouse=True)
def of_another_emulator() -> Iterator[None]:
    """What another emulator has started is there afterwards; of this one nothing is."""
    require_containers(POSTGRES, REDIS)
    labels = ["--label", "ministack=rds", "--label", "ministack.instance=another:4566"]
    container = docker("run", "-d", *labels, REDIS).strip()
    try:
        yield
        left = [name for name in image_names() if emulator.is_its_tag(name)]
        left += [str(path) for path in Path(tempfile.gettempdir()).glob(f"{emulator.FOLDER_PREFIX}*")]
        has_network = network_exists(emulator.NAME)
        removed = emulator.clean()
        assert (left, has_network, removed) == ([], False, 0)
        assert [one["State"]["Running"] for one in containers(f"id={container}")] == [True]
    finally:
        docker("rm", "-f", "-v", container)


def test_all_of_it_is_as_it_must_be_and_nothing_is_left():
    done = subprocess.run(
        [*COMMAND, "--customers", CUSTOMERS],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=WHOLE_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-4_000:]}\n{done.stderr[-2_000:]}"
    assert "nothing is left" in done.stdout


@pytest.mark.skipif(
    os.environ.get("KINSTREAM_DEPLOY_LOCAL") == "once", reason="`make test-deploy-local` interrupts it"
)
def test_interrupted_in_the_middle_it_takes_away_what_it_started():
    process = subprocess.Popen(
        [*COMMAND, "--no-build"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        its_own = f"network={emulator.NAME}"
        eventually(lambda: len(containers(its_own)) > 1, "a database beside the emulator", START_SECONDS)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=START_SECONDS)
        assert process.returncode == 130
    finally:
        # Not SIGKILL, unless it is deaf: what it has started would stay.
        process.terminate()
        try:
            process.communicate(timeout=STOP_SECONDS)
        finally:
            process.kill()
