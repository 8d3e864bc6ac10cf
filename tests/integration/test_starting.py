"""Services that cannot start: they end in bounded time, with a sentence that names what is wrong."""

import os
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from kinstream.aws import blocking_client
from kinstream.catalog import migrate
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import Apps
from kinstream_devkit.embedded.emulator import HOST, console_script
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.ingest import native, start, stop
from tests.support.network import NOBODYS_PORT

_STOP_SECONDS = 120
"""A bound for a hang, no measure of speed."""
NOBODY = f"http://{HOST}:{NOBODYS_PORT}"


class Trouble(NamedTuple):
    """What goes wrong with one service, each by itself."""

    wrong: tuple[str, str]
    secret: str | None
    missing: str


TROUBLES: Mapping[str, Trouble] = {
    "ingest-api": Trouble(("KINSTREAM_HTTP_PORT", "many"), "KINSTREAM_MEDIA_URL_KEY", "topic {}-events"),
    "media-worker": Trouble(
        ("KINSTREAM_MEDIA_QUEUES", "some"), "KINSTREAM_CATALOG_URL", "queue {}-media-large"
    ),
    "session-worker": Trouble(
        ("KINSTREAM_COMPACTION_INTERVAL_SECONDS", "0"), "KINSTREAM_LEDGER_HASH_KEY", "table {}-ledger"
    ),
    "recommender-trigger": Trouble(("KINSTREAM_LAUNCHER", "moon"), None, "bucket {}-training"),
}
SERVICES = pytest.mark.parametrize("service", TROUBLES)


class Ended(NamedTuple):
    """How a process ended."""

    status: int
    told: str
    was_ready: bool


@pytest.fixture(scope="module")
def half_applied(endpoint: str) -> CoreSettings:
    """A deployment that lacks one thing of each service."""
    settings = CoreSettings(name_prefix=f"t{uuid.uuid4().hex[:12]}", aws_endpoint_url=endpoint)
    provision(settings, processor_queues())
    names = settings.names
    sqs = blocking_client("sqs", settings)
    sqs.delete_queue(QueueUrl=sqs.get_queue_url(QueueName=names.of("media-large"))["QueueUrl"])
    blocking_client("sns", settings).delete_topic(TopicArn=names.topic_arn("events"))
    blocking_client("dynamodb", settings).delete_table(TableName=names.of("ledger"))
    blocking_client("s3", settings).delete_bucket(Bucket=names.of("training"))
    return settings


def environment_of(settings: CoreSettings, folder: Path) -> dict[str, str]:
    catalog_url = f"sqlite:///{folder}/catalog.sqlite3"
    return {
        **os.environ,
        "KINSTREAM_NAME_PREFIX": settings.name_prefix,
        "KINSTREAM_AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "KINSTREAM_CATALOG_URL": catalog_url,
        "KINSTREAM_MEDIA_URL_KEY": "a key for signed urls in the tests",
        "KINSTREAM_LEDGER_HASH_KEY": "a key for tests",
        "KINSTREAM_STARTUP_WAIT_SECONDS": "1",
        "KINSTREAM_READY_FILE": str(folder / "ready"),
        "KINSTREAM_HTTP_PORT": "0",
    }


def run(service: str, environment: Mapping[str, str]) -> Ended:
    done = subprocess.run(
        [console_script(service)],
        env=dict(environment),
        capture_output=True,
        text=True,
        check=False,
        timeout=_STOP_SECONDS,
    )
    was_ready = Path(environment["KINSTREAM_READY_FILE"]).exists()
    return Ended(done.returncode, done.stdout + done.stderr, was_ready)


def is_a_sentence(ended: Ended, service: str) -> None:
    assert (ended.status, ended.was_ready) == (1, False), ended.told
    assert f"{service} cannot start: " in ended.told
    assert "Traceback" not in ended.told


@SERVICES
def test_wrong_variable_is_named(service: str, half_applied: CoreSettings, tmp_path: Path):
    name, value = TROUBLES[service].wrong
    ended = run(service, environment_of(half_applied, tmp_path) | {name: value})
    is_a_sentence(ended, service)
    assert f"cannot start: {name}" in ended.told


@pytest.mark.parametrize("service", [service for service, trouble in TROUBLES.items() if trouble.secret])
def test_missing_secret_is_named(service: str, half_applied: CoreSettings, tmp_path: Path):
    environment = environment_of(half_applied, tmp_path)
    secret = str(TROUBLES[service].secret)
    del environment[secret]
    ended = run(service, environment)
    is_a_sentence(ended, service)
    assert f"cannot start: {secret} is not set" in ended.told


@SERVICES
def test_endpoint_that_is_away_is_named_once_its_time_is_over(
    service: str, half_applied: CoreSettings, tmp_path: Path
):
    environment = environment_of(half_applied, tmp_path) | {"KINSTREAM_AWS_ENDPOINT_URL": NOBODY}
    ended = run(service, environment)
    is_a_sentence(ended, service)
    assert "have not answered for 1 s" in ended.told
    assert "see KINSTREAM_AWS_ENDPOINT_URL" in ended.told


@SERVICES
def test_resource_that_is_missing_is_named_with_what_to_do(
    service: str, half_applied: CoreSettings, tmp_path: Path
):
    environment = environment_of(half_applied, tmp_path)
    migrate(environment["KINSTREAM_CATALOG_URL"])
    ended = run(service, environment)
    is_a_sentence(ended, service)
    assert f"{TROUBLES[service].missing.format(half_applied.name_prefix)} " in ended.told
    assert "kinstream setup" in ended.told
    assert "see KINSTREAM_AWS_ENDPOINT_URL" not in ended.told


def test_catalog_without_tables_is_named(half_applied: CoreSettings, tmp_path: Path):
    ended = run("media-worker", environment_of(half_applied, tmp_path))
    is_a_sentence(ended, "media-worker")
    assert "catalog has not answered for 1 s" in ended.told


def test_events_are_taken_from_the_start_while_the_catalog_is_away(settings: CoreSettings, tmp_path: Path):
    provision(settings, processor_queues())
    key = Apps(blocking_client("dynamodb", settings), settings.names).create("app", "write")
    away = {"KINSTREAM_CATALOG_URL": f"postgresql://kinstream:secret@{HOST}:{NOBODYS_PORT}/kinstream"}
    service = start(settings, tmp_path, away)
    try:
        with service.client(key) as client:
            assert client.post("/v1/events", json=native()).status_code == 202
            declaration = {"customer_id": "fam", "content_type": "image/jpeg", "bytes": 10}
            assert client.post("/v1/media", json=declaration).status_code == 503
    finally:
        stop(service)
