"""Fixtures for every test: one emulator a pytest worker, and names of their own for each test."""

import os
import uuid
from collections.abc import Generator, Iterator

import hypothesis
import pytest
from _pytest.nodeid import NodeId
from pydantic import SecretStr

from kinstream.settings import CoreSettings
from tests.support import containers
from tests.support.ministack import ministack
from tests.support.redis_server import redis_server
from tests.support.stack import stack as stack  # noqa: PLC0414 - a fixture is found by its name here

# No test asserts on wall time, nor does an example. Where CI is set, Hypothesis tries the same examples every
# time as well: there a change is judged, and not its luck.
hypothesis.settings.register_profile(
    "unhurried",
    hypothesis.settings(),
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Generator[None]:
    """Tests that share what is slow to make go to one pytest worker: a stack, or what a file starts."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("stack"))
        elif "integration" in item.path.parts and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
    yield
    # pytest-xdist 3.8 writes an item's group where pytest 9.2 does not read it (its issue 1386), so that
    # groups would be torn apart in silence. A version that is mended sets this no more.
    for item in items:
        if grouped := getattr(item, "_nodeid", None):
            item._id = NodeId.parse(grouped)


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--containers`: the emulator, Redis and the catalog's database in containers, else embedded. Tests that
    need an embedded server of their own, to stop it or to look into it, say so and are skipped."""
    parser.addoption(
        "--containers", action="store_true", help="servers in containers instead of embedded ones"
    )


def pytest_configure(config: pytest.Config) -> None:
    """Tell the helpers that start embedded servers."""
    if config.getoption("containers"):
        os.environ[containers.CHOSEN] = "1"


@pytest.fixture(scope="session")
def on_containers(request: pytest.FixtureRequest) -> bool:
    """Whether the servers that tests share are containers. The tests are the same."""
    chosen = bool(request.config.getoption("containers"))
    if chosen:
        containers.require_containers(containers.MINISTACK, containers.REDIS, containers.POSTGRES)
    return chosen


@pytest.fixture(scope="session")
def endpoint(on_containers: bool) -> Iterator[str]:
    """Endpoint URL of the emulator that all tests of this pytest worker share."""
    with containers.ministack_container() if on_containers else ministack() as url:
        yield url


@pytest.fixture(scope="session")
def redis_url(on_containers: bool) -> Iterator[str]:
    """URL of the Redis that tests of this pytest worker share, each with keys of its own."""
    with containers.redis_container() if on_containers else redis_server() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """URL of the Postgres that tests of this pytest worker share: a container, for there is none embedded."""
    if url := os.environ.get("KINSTREAM_TEST_POSTGRES_URL"):
        yield url
        return
    containers.require_containers(containers.POSTGRES)
    with containers.postgres_container() as url:
        yield url


@pytest.fixture(scope="module")
def catalog_url(
    request: pytest.FixtureRequest, on_containers: bool, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """URL of a catalog for the tests of one module: SQLite, or Postgres where servers are containers."""
    if on_containers:
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path_factory.mktemp('catalog')}/catalog.sqlite3"


@pytest.fixture
def name_prefix() -> str:
    """First part of the names of this test's resources, unlike any other test's."""
    return f"t{uuid.uuid4().hex[:12]}"


@pytest.fixture
def settings(endpoint: str, name_prefix: str) -> CoreSettings:
    """Settings by which code reaches this test's own resources on the emulator."""
    return CoreSettings(
        name_prefix=name_prefix,
        aws_endpoint_url=endpoint,
        ledger_hash_key=SecretStr("a key for tests"),
        # The emulator deletes what has expired: events of fixed dates are to outlive the months.
        ledger_retention_seconds=10 * 365 * 86_400,
        log_level="WARNING",
    )
