"""The emulator in a container that starts databases, caches and tasks beside itself; and the end of them."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from kinstream.errors import PermanentError, RetryableError
from kinstream_devkit.deployment.engine import (
    containers,
    docker,
    missing_images,
    network_exists,
    remove_containers,
    require_engine,
)
from kinstream_devkit.embedded.emulator import HOST, answers, free_port, wait_until

NAME = "kinstream-deploy-local"
IMAGE = "kinstream/emulator"
ROOT_KEY = "test"
"""Key and secret of the emulated account's root, as the provider of envs/dev has them."""

_ADDRESS = "169.254.170.2"
_SUBNET = "169.254.170.0/24"
_PORT = 4566
_SOCKET = "/var/run/docker.sock"
_ITS_OWN = f"label=ministack.instance={NAME}:{_PORT}"
_START_SECONDS = 30
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
        self._tags: list[str] = []

    def check(self) -> None:
        """PermanentError where there is one already, or no engine."""
        require_engine()
        if network_exists(NAME) or containers(f"name=^{NAME}$"):
            raise PermanentError(
                "another deploy-local runs on this machine, or one was killed; "
                "in that case: kinstream deploy-local --clean"
            )

    def start(self, say: Say) -> None:
        """Start it, and wait until it answers."""
        for name, image in _STAND_INS.items():
            if missing_images([image]):
                say(f"pulling {image}")
                docker("pull", "-q", image, seconds=_PULL_SECONDS)
            self.tag(image, name)
        # What publishes a port on this network does so on this machine's own address.
        bound = f"com.docker.network.bridge.host_binding_ipv4={HOST}"
        try:
            docker("network", "create", "--subnet", _SUBNET, "-o", bound, NAME)
        except PermanentError as error:
            raise PermanentError(
                f"{error}\nThe emulator needs {_SUBNET}, where ECS gives credentials"
            ) from error
        docker("run", "-d", "--name", NAME, *self._options(), IMAGE)
        if not wait_until(lambda: answers(self.port), lambda: True, _START_SECONDS):
            raise RetryableError(f"the emulator did not start:\n{self.log()}")

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
            *("-v", f"{_SOCKET}:{_SOCKET}"),
            *(part for name, value in variables.items() for part in ("-e", f"{name}={value}")),
        ]

    def tag(self, image: str, name: str) -> None:
        """Give an image a further name, until the end."""
        docker("tag", image, name)
        self._tags.append(name)

    def log(self) -> str:
        """The end of what it has to say."""
        return docker("logs", "--tail", "30", NAME)

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
        """Take it away with all that it has started, whatever state that is in."""
        clean(self._tags)


def clean(tags: Iterable[str] = ()) -> int:
    """Remove what an emulator on this machine left; how many containers that were. Touches nothing else."""
    # The emulator first: it would replace what is taken from it.
    removed = remove_containers(f"name=^{NAME}$")
    removed += remove_containers(_ITS_OWN)
    if network_exists(NAME):
        removed += remove_containers(f"network={NAME}")
        docker("network", "rm", NAME)
    for name in {*tags, *_STAND_INS}:
        with suppress(PermanentError):
            docker("rmi", "--no-prune", name)
    return removed
