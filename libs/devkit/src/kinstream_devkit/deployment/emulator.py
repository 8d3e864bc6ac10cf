"""The emulator in a container that starts databases, caches and tasks beside itself; and the end of them."""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from kinstream.errors import PermanentError, RetryableError
from kinstream_devkit.deployment.engine import (
    SOCKET,
    attempt_all,
    containers,
    docker,
    image_names,
    last_words,
    missing_images,
    network_exists,
    remove_containers,
    require_engine,
    socket_path,
)
from kinstream_devkit.embedded.emulator import HOST, answers, free_port, wait_until

NAME = "kinstream-deploy-local"
IMAGE = "kinstream/emulator"
ROOT_KEY = "test"
"""Key and secret of the emulated account's root, as the provider of envs/dev has them."""

FOLDER_PREFIX = "kinstream-deploy-"
"""First part of the names of temporary folders."""
TAG_PREFIX = "local-"
"""First part of the tags under which services' images stand in for those in ECR."""

_ADDRESS = "169.254.170.2"
_SUBNET = "169.254.170.0/24"
_PORT = 4566
_REGISTRY = "000000000000.dkr.ecr."
_TAKEN = (
    "another deploy-local runs on this machine, or one was killed; "
    "in that case: kinstream deploy-local --clean"
)
_ITS_OWN = f"label=ministack.instance={NAME}:{_PORT}"
_START_SECONDS = 120
_LOG_LINES = 30
_PULL_SECONDS = 600
_STAND_INS = {
    f"{NAME}/postgres:15-alpine": "postgres:15-bookworm",
    f"{NAME}/redis:7-alpine": "redis:7-bookworm",
}
"""Images of RDS and ElastiCache by the name that the emulator has for them: those that compose uses."""

Say = Callable[[str], None]


class Emulator:
    """One emulator on this machine, on a network of its own. Everything on that network ends with it.

    It has the address at which ECS gives tasks their credentials, for AWS's own clients ask no other. So
    there can be one at a time.
    """

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://{HOST}:{self.port}"
        self.seen_by_tasks = f"http://{_ADDRESS}:{_PORT}"
        self._socket = socket_path(os.environ)
        self._has_network = False

    def claim(self) -> None:
        """Make its network, as only one can: from then on what there is by its name is this one's.

        PermanentError where another has it already, or there is no engine.
        """
        require_engine()
        if containers(f"name=^{NAME}$"):
            raise PermanentError(_TAKEN)
        # What publishes a port on this network does so on this machine's own address.
        bound = f"com.docker.network.bridge.host_binding_ipv4={HOST}"
        try:
            docker("network", "create", "--subnet", _SUBNET, "-o", bound, NAME)
        except PermanentError as error:
            # Names may be had twice by two who ask at once; of two equal subnets the second is refused.
            if network_exists(NAME):
                raise PermanentError(_TAKEN) from error
            raise PermanentError(
                f"{error}\nThe emulator needs {_SUBNET}, where ECS gives credentials"
            ) from error
        self._has_network = True

    def start(self, say: Say) -> None:
        """Start it, and wait until it answers."""
        for name, image in _STAND_INS.items():
            if missing_images([image]):
                say(f"pulling {image}")
                docker("pull", "-q", image, seconds=_PULL_SECONDS)
            docker("tag", image, name)
        docker("run", "-d", "--name", NAME, *self._options(), IMAGE)
        if not wait_until(lambda: answers(self.port), lambda: True, _START_SECONDS):
            raise RetryableError(f"the emulator has not answered for {_START_SECONDS} s")

    def _options(self) -> list[str]:
        variables = {
            "AUTH": "true",
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
            "DOCKER_NETWORK": NAME,
            "MINISTACK_HOSTNAME": NAME,
            "MINISTACK_HOST": _ADDRESS,
            "MINISTACK_IMAGE_PREFIX": NAME,
            "RDS_BASE_PORT": str(free_port()),
            "ELASTICACHE_BASE_PORT": str(free_port()),
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }
        return [
            *("--network", NAME, "--ip", _ADDRESS),
            *("-p", f"{HOST}:{self.port}:{_PORT}"),
            *("-v", f"{self._socket}:{SOCKET}"),
            *(part for name, value in variables.items() for part in ("-e", f"{name}={value}")),
        ]

    def log(self) -> str:
        """The end of what it has to say; empty where it does not run."""
        return last_words(NAME, _LOG_LINES) if self._has_network else ""

    def started(self) -> list[str]:
        """Names of the containers that it has started and that run.

        What is left of a task that was killed it sweeps up in its own time, whatever Terraform does.
        """
        return sorted(one["Name"].strip("/") for one in containers(_ITS_OWN, "status=running"))

    def exports(self, prefix: str) -> Mapping[str, str]:
        """Variables by which the AWS command line and `kinstream` reach it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": ROOT_KEY,
            "AWS_SECRET_ACCESS_KEY": ROOT_KEY,
            "AWS_DEFAULT_REGION": "us-east-1",
            "KINSTREAM_AWS_ENDPOINT_URL": self.url,
            "KINSTREAM_AWS_ENDPOINT_CHECKS_IAM": "true",
            "KINSTREAM_NAME_PREFIX": prefix,
            "KINSTREAM_API_URL": f"{self.url}/_alb/{f'{prefix}-api'[:32]}",
        }

    def stop(self) -> None:
        """Take it away with all that it has started, whatever state that is in; nothing where it was not.

        PermanentError, once all is tried, where something would not go.
        """
        if self._has_network:
            clean()


def clean() -> int:
    """Remove what an emulator on this machine left; how many containers that were. Touches nothing else.

    PermanentError, once all is tried, where something would not go.
    """
    removed = 0

    def remove(*filters: str) -> None:
        nonlocal removed
        removed += remove_containers(*filters)

    # The emulator first: it would replace what is taken from it.
    attempt_all(
        [
            partial(remove, f"name=^{NAME}$"),
            partial(remove, _ITS_OWN),
            partial(_remove_network, remove),
            _remove_tags,
            _remove_folders,
        ]
    )
    return removed


def _remove_network(remove: Callable[[str], None]) -> None:
    if network_exists(NAME):
        remove(f"network={NAME}")
        docker("network", "rm", NAME)


def _remove_tags() -> None:
    attempt_all([partial(docker, "rmi", "--no-prune", name) for name in image_names() if is_its_tag(name)])


def is_its_tag(image: str) -> bool:
    """Whether an image's name, with its tag, is one that a local deployment gives."""
    repository, _, tag = image.rpartition(":")
    in_registry = repository.startswith(_REGISTRY) and tag.startswith(TAG_PREFIX)
    return in_registry or repository.startswith(f"{NAME}/")


def _remove_folders() -> None:
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER_PREFIX}*"):
        # Another person's stay: this one may not remove them.
        shutil.rmtree(folder, ignore_errors=True)
