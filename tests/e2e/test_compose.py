"""The stack in containers: healthy from nothing, exact, data outlives `down`, `down -v` leaves nothing."""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import yaml

from kinstream_devkit.embedded.emulator import HOST, console_script, free_port
from tests.support.containers import MINISTACK, POSTGRES, REDIS, require_containers
from tests.support.ingest import native
from tests.support.repository import ROOT
from tests.support.stack import eventually

SERVICES = (
    "ingest-api",
    "media-worker",
    "media-worker-large",
    "recommender-trigger",
    "session-worker",
    "session-worker-archive",
    "session-worker-safety",
)
DEPENDENCIES = ("ministack", "postgres", "redis")
BASE = "python:3.11-slim-bookworm"

# Two workers would build and start all of it twice.
pytestmark = pytest.mark.xdist_group("compose")

BUILD_SECONDS = 1_500
START_SECONDS = 240
DEMO_SECONDS = 900


@dataclass
class Compose:
    """A project of its own: no name and no port is another's."""

    project: str = field(default_factory=lambda: f"kinstream-test-{uuid.uuid4().hex[:8]}")
    port: int = field(default_factory=free_port)
    emulator_port: int = field(default_factory=free_port)

    @property
    def environment(self) -> dict[str, str]:
        """By which compose, and whatever calls it, finds the project."""
        return os.environ | {
            "COMPOSE_PROJECT_NAME": self.project,
            "KINSTREAM_PORT": str(self.port),
            "KINSTREAM_EMULATOR_PORT": str(self.emulator_port),
        }

    def __call__(self, *arguments: str, seconds: float = START_SECONDS) -> str:
        """What `docker compose ARGUMENTS` prints; it must succeed."""
        return run("docker", "compose", *arguments, environment=self.environment, seconds=seconds)

    def up(self, *arguments: str) -> None:
        """Start everything and wait until it is healthy."""
        self("up", "-d", *arguments)
        eventually(lambda: self.unhealthy() == [], "healthy containers", seconds=START_SECONDS)

    def unhealthy(self) -> list[str]:
        """Names of containers that are not healthy; the one that sets up has ended well instead."""
        states = [one["State"] | {"Name": one["Name"]} for one in self.containers()]
        return [
            state["Name"]
            for state in states
            if not (
                state["Health"]["Status"] == "healthy"
                if "Health" in state
                else (state["Status"], state["ExitCode"]) == ("exited", 0)
            )
        ]

    def containers(self, service: str | None = None) -> list[dict]:
        """What the engine says of the project's containers."""
        found = self("ps", "-a", "-q", *([service] if service else [])).split()
        return json.loads(run("docker", "inspect", *found)) if found else []

    def address(self) -> dict[str, str]:
        """The address of the API and its keys, as the README tells to ask for them."""
        return json.loads(self("run", "--rm", "-T", "setup", "setup", "--json").splitlines()[-1])

    def left(self) -> list[str]:
        """Names of what the engine holds of the project."""
        mine = ["--filter", f"label=com.docker.compose.project={self.project}", "-q"]
        kinds = (["container", "ls", "-a"], ["volume", "ls"], ["network", "ls"])
        return [name for kind in kinds for name in run("docker", *kind, *mine).split()]


def attempt(
    *command: str, environment: dict[str, str] | None = None, seconds: float = START_SECONDS
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def run(*command: str, environment: dict[str, str] | None = None, seconds: float = START_SECONDS) -> str:
    ended = attempt(*command, environment=environment, seconds=seconds)
    assert ended.returncode == 0, f"{' '.join(command)}:\n{ended.stdout[-4000:]}\n{ended.stderr[-4000:]}"
    return ended.stdout


@pytest.fixture(scope="module")
def compose() -> Iterator[Compose]:
    require_containers(MINISTACK, POSTGRES, REDIS, BASE)
    project = Compose()
    project("build", "-q", seconds=BUILD_SECONDS)
    try:
        yield project
    finally:
        project("down", "-v", "--remove-orphans")
        assert project.left() == []


@pytest.mark.parametrize("profile", ["logs", "mqtt", "telemetry"])
def test_profile_reads_files_that_are_there_and_listens_on_this_machine_alone(profile: str):
    require_containers()
    told = yaml.safe_load(run("docker", "compose", "--profile", profile, "config"))
    added = {name: one for name, one in told["services"].items() if profile in one.get("profiles", [])}
    assert added
    for name, one in added.items():
        ports = [
            port if isinstance(port, str) else f"{port.get('host_ip')}:" for port in one.get("ports", [])
        ]
        assert all(port.startswith(f"{HOST}:") for port in ports), name
        # Newer ones tell a mount by its fields, older ones in a line.
        mounts = [
            mount.partition(":")[0] if isinstance(mount, str) else mount["source"]
            for mount in one.get("volumes", [])
        ]
        assert all(Path(mount).exists() for mount in mounts if mount.startswith(str(ROOT))), name
        assert {mount for mount in mounts if "/" not in mount} <= set(told["volumes"]), name


def counted(address: dict[str, str], customer: str) -> int:
    """Events of a customer as they are served."""
    answer = httpx.get(
        f"{address['url']}/v1/customers/{customer}/counters",
        headers={"Authorization": f"Bearer {address['secret_key']}"},
        trust_env=False,
        timeout=60,
    )
    return answer.json()["events"] if answer.status_code == 200 else 0


def send(address: dict[str, str], events: Sequence[dict]) -> None:
    def are_taken() -> bool:
        answer = httpx.post(
            f"{address['url']}/v1/events",
            json=events,
            auth=(address["write_key"], ""),
            trust_env=False,
            timeout=60,
        )
        return answer.json() == {"accepted": len(events), "rejected": []}

    # A busy emulator may be a reason to be told to come again.
    eventually(are_taken, "events are taken")


@pytest.mark.timeout(BUILD_SECONDS + DEMO_SECONDS + 4 * START_SECONDS)
def test_stack_in_containers_does_what_the_demo_says_and_keeps_it(compose: Compose, tmp_path: Path):
    compose.up("--scale", "session-worker=2")
    assert len(compose.containers("session-worker")) == 2
    demo = [str(console_script("kinstream")), "demo", "--compose", "--customers", "40"]
    run(*demo, "--report", str(tmp_path / "r.html"), environment=compose.environment, seconds=DEMO_SECONDS)

    before = compose.address()
    assert before["url"] == f"http://{HOST}:{compose.port}"
    send(before, [native(customer_id="kept") for _ in range(3)])
    eventually(lambda: counted(before, "kept") == 3, "counted events")
    compose("down")
    compose.up()
    after = compose.address()
    assert after == before
    eventually(lambda: counted(after, "kept") == 3, "what was counted is there")
    send(after, [native(customer_id="kept")])
    eventually(lambda: counted(after, "kept") == 4, "counted events")


def test_operator_rotates_keys_with_the_command_in_the_container(compose: Compose):
    compose.up()
    assert "write" in compose("run", "--rm", "-T", "setup", "keys", "list")
    revoke = ["run", "--rm", "-T", "setup", "keys", "revoke", "--app", "nobody", "00"]
    refused = attempt("docker", "compose", *revoke, environment=compose.environment)
    assert refused.returncode == 2
    assert "live keys of app nobody" in refused.stderr


def test_services_can_write_nowhere_and_may_do_nothing_but_their_work(compose: Compose):
    compose.up()
    for service in SERVICES:
        for container in compose.containers(service):
            host = container["HostConfig"]
            assert container["Config"]["User"] == "10001", service
            assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"]), service
            assert "no-new-privileges:true" in host["SecurityOpt"], service
    published = {
        binding["HostIp"]
        for service in (*SERVICES, *DEPENDENCIES)
        for container in compose.containers(service)
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    }
    assert published == {HOST}


def test_service_whose_dependency_never_comes_ends_with_a_sentence(compose: Compose):
    absent = {
        "KINSTREAM_STARTUP_WAIT_SECONDS": "1",
        "KINSTREAM_AWS_ENDPOINT_URL": f"http://{HOST}:9",
        "KINSTREAM_CATALOG_URL": "sqlite:////tmp/catalog.sqlite3",
        "KINSTREAM_MEDIA_URL_KEY": "of nobody but long enough to be one",
    }
    variables = [part for name, value in absent.items() for part in ("-e", f"{name}={value}")]
    ended = attempt("docker", "run", "--rm", "--network", "none", *variables, "kinstream/ingest-api")
    assert ended.returncode == 1
    assert "ingest-api cannot start: topic kinstream-events" in ended.stdout + ended.stderr
