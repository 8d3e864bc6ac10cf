"""What tests need of containers: whether there is an engine, and the same servers as the embedded ones."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import pytest

from kinstream_devkit.embedded.emulator import HOST, answers, free_port, wait_until
from kinstream_devkit.embedded.redis_server import redis_answers

if TYPE_CHECKING:
    from testcontainers.core.container import DockerContainer

MINISTACK = "ministackorg/ministack:latest"
REDIS = "redis:7-bookworm"
POSTGRES = "postgres:15-bookworm"

CHOSEN = "KINSTREAM_TESTS_ON_CONTAINERS"
"""Set while pytest runs with `--containers`."""

_START_SECONDS = 240
_ASK_SECONDS = 120


@cache
def why_no_containers(*images: str) -> str | None:
    """Why there are no containers of these images here; None where there are."""
    if not shutil.which("docker"):
        return "there is no docker here"
    if not _succeeds("docker", "info"):
        return "no container engine answers"
    missing = [image for image in images if not _succeeds("docker", "image", "inspect", image)]
    # Not pulled: a test must not wait for a registry, or find another version than yesterday's.
    return f"there is no image {', '.join(missing)}; `docker pull` gets it" if missing else None


def require_containers(*images: str) -> None:
    """Skip the test, in words, where there are no containers; fail it where they are said to be there."""
    if why := why_no_containers(*images):
        if os.environ.get("KINSTREAM_TESTS_REQUIRE_CONTAINERS"):
            pytest.fail(why)
        pytest.skip(why)


def require_embedded(what: str) -> None:
    """Skip, in words, a test that starts an embedded server where tests are to run against containers."""
    if os.environ.get(CHOSEN):
        pytest.skip(f"starts {what} of its own, which is embedded and no container")


@contextmanager
def ministack_container() -> Iterator[str]:
    """Endpoint URL of an emulator in a container."""
    port = free_port()
    # Inside and outside the same port: the addresses of its queues name it.
    container = _container(MINISTACK, port, port, GATEWAY_PORT=str(port), MINISTACK_HOST=HOST)
    with container:
        _wait(MINISTACK, lambda: answers(port))
        yield f"http://{HOST}:{port}"


@contextmanager
def redis_container() -> Iterator[str]:
    """URL of a Redis in a container."""
    port = free_port()
    with _container(REDIS, 6379, port):
        _wait(REDIS, lambda: redis_answers(port))
        yield f"redis://{HOST}:{port}/0"


@contextmanager
def postgres_container() -> Iterator[str]:
    """URL of an empty database in a container."""
    port = free_port()
    secrets = {"POSTGRES_USER": "tests", "POSTGRES_PASSWORD": "tests", "POSTGRES_DB": "tests"}
    container = _container(POSTGRES, 5432, port, **secrets)
    with container:
        ask = [
            "docker",
            "exec",
            container.get_wrapped_container().id,
            "pg_isready",
            "-h",
            HOST,
            "-U",
            "tests",
        ]
        _wait(POSTGRES, lambda: _succeeds(*ask))
        yield f"postgresql://tests:tests@{HOST}:{port}/tests"


def _container(image: str, inside: int, outside: int, **environment: str) -> "DockerContainer":
    # No container that is to watch over the others: it would need an image more.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer

    container = DockerContainer(image)
    # On this machine's own address; `with_bind_ports` would let everybody in.
    container.ports[f"{inside}/tcp"] = (HOST, outside)  # type: ignore[assignment]
    for name, value in environment.items():
        container = container.with_env(name, value)
    return container


def _wait(what: str, is_ready: Callable[[], bool]) -> None:
    assert wait_until(is_ready, lambda: True, _START_SECONDS), f"{what} did not start"


def _succeeds(*command: str) -> bool:
    try:
        return not subprocess.run(command, capture_output=True, timeout=_ASK_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        return False
