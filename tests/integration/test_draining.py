"""SIGTERM under load: nobody waits for an answer in vain, and every answer is true."""

import json
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from ingest_api.server import FAREWELL_SECONDS
from kinstream_devkit.apps import Apps
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.ingest import App, native, published, start, stop
from tests.support.network import TIMEOUT_SECONDS, Connection, post

CLIENTS = 50
ROUNDS = 10
ANSWERS_BEFORE = 200


class Ending(threading.Event):
    """That a server has begun to end."""

    asked_at = float("inf")
    """When it was told to."""


@dataclass
class Client:
    """Sends one event after the other on one connection, until it is told that this answer was the last."""

    url: str
    key: str
    name: str
    answered: threading.Semaphore
    ending: Ending
    acknowledged: set[str] = field(default_factory=set)
    statuses: set[int] = field(default_factory=set)
    lost: list[str] = field(default_factory=list)
    """Requests whose answer never came, but for those that came when the farewell was over."""

    def be_busy(self) -> None:
        """Send without a pause."""
        with Connection(self.url) as connection:
            number = 0
            while self._sends_on(connection, f"{self.name}-{number}"):
                number += 1
            self.ending.set()

    def be_idle(self) -> None:
        """Send one event, and one more when the server has begun to end."""
        with Connection(self.url) as connection:
            assert self._sends_on(connection, f"{self.name}-early")
            assert self.ending.wait(TIMEOUT_SECONDS)
            assert not self._sends_on(connection, f"{self.name}-late")

    def _sends_on(self, connection: Connection, event_id: str) -> bool:
        sent_at = float("inf")
        try:
            connection.send(post("/v1/events", self.key, json.dumps(native(id=event_id)).encode()))
            sent_at = time.monotonic()
            answer = connection.answer()
        except ConnectionError:
            answer = None
        if answer is None:
            if sent_at < self.ending.asked_at + FAREWELL_SECONDS:
                self.lost.append(event_id)
            return False
        self.statuses.add(answer.status)
        if answer.json == {"accepted": 1, "rejected": []}:
            self.acknowledged.add(event_id)
        self.answered.release()
        if answer.is_last:
            assert connection.is_closed()
        return not answer.is_last


def test_no_request_is_lost_or_refused_when_the_server_ends_under_load(settings, tmp_path):
    provision(settings, processor_queues())
    everybody: list[Client] = []
    for number in range(ROUNDS):
        service = start(settings, tmp_path)
        key = Apps(service.aws("dynamodb"), settings.names).create("demo", "write")
        answered, ending = threading.Semaphore(0), Ending()
        clients = [Client(service.url, key, f"{number}-{n}", answered, ending) for n in range(CLIENTS)]
        idle = Client(service.url, key, f"{number}-idle", answered, ending)
        with ThreadPoolExecutor(CLIENTS + 1) as pool:
            running = [pool.submit(client.be_busy) for client in clients] + [pool.submit(idle.be_idle)]
            for _ in range(ANSWERS_BEFORE):
                assert answered.acquire(timeout=TIMEOUT_SECONDS)
            ending.asked_at = time.monotonic()
            assert stop(service) == 0
            for client in running:
                client.result()
        everybody += [*clients, idle]
    assert [lost for client in everybody for lost in client.lost] == []
    assert {status for client in everybody for status in client.statuses} == {202}
    acknowledged = {event_id for client in everybody for event_id in client.acknowledged}
    assert len(acknowledged) >= ROUNDS * (CLIENTS + 1)
    with service.client(key) as client:
        app = App("demo", key, "", client, client)
        arrived = published(service, app, "activity", len(acknowledged), and_no_more=True)
    assert {event.id for event in arrived} == acknowledged


def test_a_request_that_came_while_the_server_stood_still_at_its_end_is_answered(settings, tmp_path):
    provision(settings, processor_queues())
    service = start(settings, tmp_path)
    key = Apps(service.aws("dynamodb"), settings.names).create("demo", "write")
    try:
        with Connection(service.url) as connection:
            send_one(connection, key, "early")
            service.process.send_signal(signal.SIGTERM)
            time.sleep(FAREWELL_SECONDS / 4)
            service.process.send_signal(signal.SIGSTOP)
            threading.Timer(2 * FAREWELL_SECONDS, service.process.send_signal, [signal.SIGCONT]).start()
            send_one(connection, key, "late")
    finally:
        assert stop(service) == 0


def send_one(connection: Connection, key: str, event_id: str) -> None:
    connection.send(post("/v1/events", key, json.dumps(native(id=event_id)).encode()))
    answer = connection.answer()
    assert answer
    assert answer.json == {"accepted": 1, "rejected": []}
