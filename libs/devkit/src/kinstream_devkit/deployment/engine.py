"""Docker, through its command line: what is started is found again by its label or its network."""

import json
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from kinstream.errors import PermanentError

SOCKET = "/var/run/docker.sock"
"""Where Docker listens, unless DOCKER_HOST says otherwise."""

_LONGEST_SECONDS = 120
_TRIES = 4

Answer = TypeVar("Answer")


def docker(*arguments: str, seconds: float = _LONGEST_SECONDS) -> str:
    """What `docker ARGUMENTS` prints. PermanentError with Docker's words where it fails."""
    done = _run(*arguments, seconds=seconds)
    if done.returncode:
        raise PermanentError(f"docker {' '.join(arguments[:2])} failed: {done.stderr.strip()[-500:]}")
    return done.stdout


def last_words(container: str, lines: int) -> str:
    """The end of a container's log, of both its outputs; empty where it cannot be had."""
    try:
        done = _run("logs", "--tail", str(lines), container)
    except PermanentError:
        return ""
    return "" if done.returncode else (done.stdout + done.stderr).strip()


def socket_path(environment: Mapping[str, str]) -> str:
    """The engine's socket on this machine. PermanentError where it is another machine's."""
    host = environment.get("DOCKER_HOST", "")
    if not host:
        return SOCKET
    if not host.startswith("unix://"):
        raise PermanentError(
            "DOCKER_HOST names an engine elsewhere; deploy-local needs one on this machine, whose socket its "
            f"emulator starts tasks by: unset DOCKER_HOST, or DOCKER_HOST=unix://{SOCKET}"
        )
    return host.removeprefix("unix://")


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


def image_names() -> list[str]:
    """Names, with their tags, of all images."""
    return docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()


def containers(*filters: str) -> list[dict[str, Any]]:
    """What the engine says of all containers, running or not, that pass every filter."""

    def described(found: list[str]) -> list[dict[str, Any]]:
        described: list[dict[str, Any]] = json.loads(docker("inspect", *found))
        return described

    return _with_listed(filters, described, [])


def remove_containers(*filters: str) -> int:
    """End and remove them with their anonymous volumes; how many there were."""

    def removed(found: list[str]) -> int:
        docker("rm", "-f", "-v", *found)
        return len(found)

    return _with_listed(filters, removed, 0)


def network_exists(name: str) -> bool:
    """Whether there is a network of that name."""
    return _exists("network", name)


def attempt_all(steps: Sequence[Callable[[], object]]) -> None:
    """Do each step, whatever becomes of the others. PermanentError at the end that tells all that failed."""
    problems = []
    for step in steps:
        try:
            step()
        except PermanentError as error:
            problems.append(str(error))
    if problems:
        raise PermanentError("\n".join(problems))


def _with_listed(filters: Sequence[str], act: Callable[[list[str]], Answer], nothing: Answer) -> Answer:
    wanted = [part for one in filters for part in ("--filter", one)]
    for left in reversed(range(_TRIES)):
        found = docker("ps", "-a", "-q", *wanted).split()
        if not found:
            return nothing
        try:
            return act(found)
        except PermanentError:
            # One that vanished meanwhile is an error for all: list them again.
            if not left:
                raise
    raise AssertionError


def _exists(kind: str, name: str) -> bool:
    return not _run(kind, "inspect", name).returncode


def _run(*arguments: str, seconds: float = _LONGEST_SECONDS) -> "subprocess.CompletedProcess[str]":
    command = ["docker", *arguments]
    try:
        return subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds,
            # A Ctrl-C is this process's to hear: it may be in the middle of its clean-up.
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        raise PermanentError(f"docker {arguments[0]} has not answered for {seconds:.0f} s") from error
