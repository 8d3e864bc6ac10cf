"""SIGTERM under load: whoever has been answered was told the truth, and nobody waits for an answer in vain."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from kinstream.chunks import decode_chunk
from kinstream_devkit.apps import Apps
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.ingest import Service, native, start, stop
from tests.support.network import Connection, post

CLIENTS = 50
ROUNDS = 10
BEFORE_THE_SIGNAL = 5
"""Answers that each client has by then, on average."""


@dataclass
class Client:
    """Sends one event after the other on one connection, until it is told that this answer is the last."""

    url: str
    key: str
    name: str
    answered: threading.Semaphore
    acknowledged: set[str] = field(default_factory=set)
    statuses: set[int] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    """Requests whose answer never came."""
    was_told: bool = False

    def run(self) -> None:
        with Connection(self.url) as connection:
            number = 0
            while not self.was_told:
                number += 1
                self._send(connection, f"{self.name}-{number}")
                if self.lost:
                    return

    def _send(self, connection: Connection, event_id: str) -> None:
        try:
            connection.send(post("/v1/events", self.key, native(id=event_id)))
            answer = connection.answer()
        except ConnectionError:
            answer = None
        if answer is None:
            self.lost.append(event_id)
            return
        self.statuses.add(answer.status)
        self.was_told = answer.is_last
        if answer.status == 202:
            self.acknowledged.add(event_id)
        self.answered.release()


@pytest.fixture
def provisioned(settings) -> Iterator[str]:
    """A write key."""
    provision(settings, processor_queues())
    yield Apps(Service(settings, "", None).aws("dynamodb"), settings.names).create("demo", "write")
