"""A real ingest-api for tests: its own process, real HTTP, tables, topics and queues on the emulator.

`service` and `app` are fixtures for every test under tests/integration (see its conftest.py).
"""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from kinstream import keys
from kinstream.aws import blocking_client
from kinstream.catalog import migrate
from kinstream.chunks import decode_chunk
from kinstream.dynamo import to_item
from kinstream.events import Event, format_time_ms
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import Apps
from kinstream_devkit.embedded.emulator import HOST, free_port
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.network import NOBODYS_PORT
from tests.support.stack import PATIENCE

URL_KEY = "a key for signed urls in the tests"
_START_SECONDS = 180
_STOP_SECONDS = 120
_ARRIVAL_SECONDS = 60
"""Since the last message: a bound for a hang, no measure of speed."""
_QUIET_SECONDS = 1


@dataclass
class Service:
    """A running ingest-api and what it talks to."""

    settings: CoreSettings
    url: str
    process: subprocess.Popen[bytes]

    def aws(self, name: str) -> Any:
        """A blocking client of the emulator."""
        return blocking_client(name, self.settings)

    def put(self, table: str, key: keys.Key, values: dict[str, Any]) -> None:
        """Write an item as another service would have."""
        item = to_item({"pk": key[0], "sk": key[1], **values})
        self.aws("dynamodb").put_item(TableName=self.settings.names.of(table), Item=item)

    def client(self, key: str) -> httpx.Client:
        """An HTTP client that sends this key."""
        return httpx.Client(base_url=self.url, auth=(key, ""), timeout=60, trust_env=False)


@dataclass
class App:
    """An app of one test alone, its two keys, and a client for each of them."""

    name: str
    write_key: str
    secret_key: str
    writer: httpx.Client
    reader: httpx.Client


def start(settings: CoreSettings, folder: Path, variables: Mapping[str, str] | None = None) -> Service:
    """An ingest-api that is ready; `variables` are added to its environment."""
    port = free_port()
    environment = os.environ | {
        **PATIENCE,
        "KINSTREAM_NAME_PREFIX": settings.name_prefix,
        "KINSTREAM_AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "KINSTREAM_CATALOG_URL": f"sqlite:///{folder}/catalog.sqlite3",
        "KINSTREAM_REDIS_URL": f"redis://{HOST}:{NOBODYS_PORT}/0",
        "KINSTREAM_HTTP_PORT": str(port),
        "KINSTREAM_READY_FILE": str(folder / f"ready-{port}"),
        "KINSTREAM_MEDIA_URL_KEY": URL_KEY,
        "KINSTREAM_LOG_LEVEL": "WARNING",
        **(variables or {}),
    }
    process = subprocess.Popen([sys.executable, "-m", "ingest_api.main"], env=environment)
    service = Service(settings, f"http://{HOST}:{port}", process)
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if httpx.get(service.url + "/readyz", trust_env=False).status_code == 200:
                return service
        except httpx.TransportError:
            time.sleep(0.1)
    process.kill()
    raise RuntimeError("ingest-api did not start")


def stop(service: Service) -> int:
    """End it as an orchestrator would; its exit code."""
    service.process.send_signal(signal.SIGTERM)
    return service.process.wait(_STOP_SECONDS)


@pytest.fixture(scope="module")
def module_settings(endpoint: str) -> CoreSettings:
    """Settings of the resources that the tests of one module share."""
    return CoreSettings(
        name_prefix=f"t{uuid.uuid4().hex[:12]}",
        aws_endpoint_url=endpoint,
        ledger_hash_key=SecretStr("a key for tests"),
        log_level="WARNING",
    )


@pytest.fixture(scope="module")
def service(
    module_settings: CoreSettings, catalog_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """One ingest-api for the tests of a module."""
    folder = tmp_path_factory.mktemp("ingest-api")
    provision(module_settings, processor_queues())
    migrate(catalog_url)
    running = start(module_settings, folder, {"KINSTREAM_CATALOG_URL": catalog_url})
    yield running
    assert stop(running) == 0


@pytest.fixture
def app(service: Service) -> Iterator[App]:
    """An app that no other test knows."""
    name = f"app{uuid.uuid4().hex[:8]}"
    apps = Apps(service.aws("dynamodb"), service.settings.names)
    write_key, secret_key = apps.create(name, "write"), apps.create(name, "secret")
    with service.client(write_key) as writer, service.client(secret_key) as reader:
        yield App(name, write_key, secret_key, writer, reader)


def native(**fields: Any) -> dict[str, Any]:
    """A good native event of now."""
    return {
        "id": uuid.uuid4().hex,
        "type": "content.viewed",
        "customer_id": "fam-42",
        "occurred_at": format_time_ms(now_ms()),
        "data": {"content_id": "story-7"},
    } | fields


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def published(
    service: Service, app: App, processor: str, count: int, *, and_no_more: bool = False
) -> list[Event]:
    """Events of the app that arrived in a processor's queue, once they are `count` or time is up.

    With `and_no_more` the queue is read until it stays quiet, so that a duplicate is seen too.
    """
    sqs = service.aws("sqs")
    url = sqs.get_queue_url(QueueName=service.settings.names.processor_queue(processor))["QueueUrl"]
    found: list[Event] = []
    deadline = time.monotonic() + _ARRIVAL_SECONDS
    while time.monotonic() < deadline:
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=_QUIET_SECONDS)
        messages = answer.get("Messages", [])
        deadline = time.monotonic() + _ARRIVAL_SECONDS if messages else deadline
        for message in messages:
            chunk = decode_chunk(message["Body"])
            found += chunk.events if chunk.app == app.name else []
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        if len(found) >= count and not (and_no_more and messages):
            break
    return found
