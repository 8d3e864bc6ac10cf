"""Fixtures for the integration tests: a fixture is found by its name here."""

from tests.support.ingest import app as app  # noqa: PLC0414
from tests.support.ingest import module_settings as module_settings  # noqa: PLC0414
from tests.support.ingest import service as service  # noqa: PLC0414
