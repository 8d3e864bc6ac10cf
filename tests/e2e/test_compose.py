"""The stack in containers: healthy from nothing, exact, data outlives `down`, `down -v` leaves nothing."""

import json
import os
import re
import subprocess
import sys
import time
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
WORKERS = tuple(name for name in SERVICES if "worker" in name)
BASE = "python:3.11-slim-bookworm"
NOTHING_TO_ASK_WITH = {"collector", "fluent-bit"}
"""Their images hold one program and no other."""

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
    volumes: set[str] = field(default_factory=set)
    """Every volume that a container of it had. One without a name tells nobody whose it was."""

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

    def up(self, *arguments: str) -> float:
        """Start everything and wait until it is healthy; how many seconds that took."""
        started = time.monotonic()
        self("up", "-d", *arguments)
        eventually(lambda: self.unhealthy() == [], "healthy containers", seconds=START_SECONDS)
        self.volumes |= {
            mount["Name"]
            for container in self.containers()
            for mount in container["Mounts"]
            if mount["Type"] == "volume"
        }
        return time.monotonic() - started

    def be_up(self) -> None:
        """Start everything, unless a test before has done so."""
        if not self.containers():
            self.up()

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

    def containers(self) -> list[dict]:
        """What the engine says of the project's containers."""
        found = self.of_project("container", "ls", "-a")
        return json.loads(run("docker", "inspect", *found)) if found else []

    def address(self) -> dict[str, str]:
        """The address of the API and its keys, as the README tells to ask for them."""
        return json.loads(self("run", "--rm", "-T", "setup", "setup", "--json").splitlines()[-1])

    def left(self) -> list[str]:
        """Names of what the engine holds of the project."""
        kinds = (["container", "ls", "-a"], ["volume", "ls"], ["network", "ls"])
        labelled = [name for kind in kinds for name in self.of_project(*kind)]
        return [*labelled, *self.volumes.intersection(run("docker", "volume", "ls", "-q").split())]

    def of_project(self, *listing: str) -> list[str]:
        # Compose itself would take a second to say so, and two cores of computing.
        mine = f"label=com.docker.compose.project={self.project}"
        return run("docker", *listing, "-q", "--filter", mine).split()


def service_of(container: dict) -> str:
    """Its name in the compose file."""
    return container["Config"]["Labels"]["com.docker.compose.service"]


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
        project("down", "-v")
        assert project.left() == []


@pytest.mark.parametrize("profile", ["logs", "mqtt", "telemetry"])
def test_profile_reads_files_that_are_there_and_listens_on_this_machine_alone(profile: str):
    require_containers()
    told = yaml.safe_load(run("docker", "compose", "--profile", profile, "config"))
    added = {name: one for name, one in told["services"].items() if profile in one.get("profiles", [])}
    assert added
    for name, one in added.items():
        ends = name.endswith("-setup")
        assert ends or ("healthcheck" in one) != (name in NOTHING_TO_ASK_WITH), name
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
    seconds = compose.up(*(f"--scale={name}=2" for name in WORKERS))
    sys.stdout.write(f"\nhealthy {seconds:.0f} s after `docker compose up`, with two of each worker\n")
    names = [service_of(one) for one in compose.containers()]
    assert {names.count(name) for name in WORKERS} == {2}
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
    compose.be_up()
    assert "write" in compose("run", "--rm", "-T", "setup", "keys", "list")
    revoke = ["run", "--rm", "-T", "setup", "keys", "revoke", "--app", "nobody", "00"]
    refused = attempt("docker", "compose", *revoke, environment=compose.environment)
    assert refused.returncode == 2
    assert "live keys of app nobody" in refused.stderr


def test_services_can_write_nowhere_and_may_do_nothing_but_their_work(compose: Compose):
    compose.be_up()
    containers = compose.containers()
    services = [container for container in containers if service_of(container) in SERVICES]
    assert {service_of(container) for container in services} == set(SERVICES)
    for container in services:
        host, name = container["HostConfig"], container["Name"]
        assert container["Config"]["User"] == "10001", name
        assert (host["ReadonlyRootfs"], host["CapDrop"]) == (True, ["ALL"]), name
        assert "no-new-privileges:true" in host["SecurityOpt"], name
    published = {
        binding["HostIp"]
        for container in containers
        for bindings in (container["HostConfig"]["PortBindings"] or {}).values()
        for binding in bindings
    }
    assert published == {HOST}


def test_images_are_as_small_as_their_page_says(compose: Compose):
    """And not a tenth larger, or smaller."""
    page = (ROOT / "docs/containers.md").read_text()
    told = {
        image: int(mb.replace(",", "")) for image, mb in re.findall(r"^\| `(\S+)` \| ([\d,]+) MB", page, re.M)
    }
    built = sorted(told.keys() & set(compose("config").split()))
    assert len(built) == 5
    inspected = json.loads(run("docker", "image", "inspect", BASE, *built))
    base, *sizes = (one["Size"] / 1e6 for one in inspected)
    above_base = {image: round(size - base) for image, size in zip(built, sizes, strict=True)}
    sys.stdout.write(f"\nMB above {BASE}, which has {base:.0f}: {above_base}\n")
    assert above_base == {image: pytest.approx(told[image], rel=0.1) for image in built}


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
