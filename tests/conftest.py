"""Fixtures for every test: one emulator a pytest worker, and names of their own for each test."""

import uuid
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from kinstream.settings import CoreSettings
from tests.support.ministack import ministack
from tests.support.stack import stack as stack  # noqa: PLC0414 - a fixture is found by its name here


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share the whole stack go to one pytest worker: two stacks on two cores help nobody."""
    for item in items:
        if "stack" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.xdist_group("stack"))


@pytest.fixture(scope="session")
def endpoint() -> Iterator[str]:
    """Endpoint URL of the emulator that all tests of this pytest worker share."""
    with ministack() as url:
        yield url


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
        log_level="WARNING",
    )
