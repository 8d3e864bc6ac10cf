"""Docker, through its command line: what is started is found again by its label or its network."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from kinstream.errors import PermanentError

_LONGEST_SECONDS = 120


def docker(*arguments: str, seconds: float = _LONGEST_SECONDS) -> str:
    """What `docker ARGUMENTS` prints. PermanentError with Docker's words where it fails."""
    command = ["docker", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise PermanentError(f"docker {arguments[0]} has not answered for {seconds:.0f} s") from error
    if done.returncode:
        raise PermanentError(f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def require_engine() -> None:
    """PermanentError that says what to do where no engine answers."""
    if not shutil.which("docker"):
        raise PermanentError(
            "there is no docker here; install Docker Engine, whose socket the emulator starts tasks by"
        )
    docker("info")


def missing_images(images: Sequence[str]) -> list[str]:
    """Those that this engine has not got."""
    return [image for image in images if not _exists("image", image)]


def containers(*filters: str) -> list[dict[str, Any]]:
    """What the engine says of all containers, running or not, that pass every filter."""
    wanted = [part for one in filters for part in ("--filter", one)]
    found = docker("ps", "-a", "-q", *wanted).split()
    described: list[dict[str, Any]] = json.loads(docker("inspect", *found)) if found else []
    return described


def remove_containers(*filters: str) -> int:
    """End and remove them with their anonymous volumes; how many there were."""
    found = [one["Id"] for one in containers(*filters)]
    if found:
        docker("rm", "-f", "-v", *found)
    return len(found)


def network_exists(name: str) -> bool:
    """Whether there is a network of that name."""
    return _exists("network", name)


def _exists(kind: str, name: str) -> bool:
    command = ["docker", kind, "inspect", name]
    done = subprocess.run(command, capture_output=True, check=False, timeout=_LONGEST_SECONDS)
    return not done.returncode
