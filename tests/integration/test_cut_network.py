"""The network to SNS, S3 and DynamoDB is cut under load: senders are told to come again, nothing is lost."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from kinstream.resources import BUCKET_QUARANTINE
from kinstream_devkit.apps import Apps
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.ingest import App, Service, native, published, start, stop
from tests.support.network import Connection, post, proxy

SENDERS = 16
CUT_SECONDS = 5
BLACKHOLE_SECONDS = 15
"""Long enough that whoever waits for the last of its attempts would wait too long."""
ANSWER_SECONDS = 14
RECOVERY_SECONDS = (
    180  # a guard for a busy machine; how long it takes is measured by `make demo-backpressure`
)
LATENCY_SECONDS = 2.0
PAUSE_SECONDS = 0.05


@dataclass
class Sender:
    """Sends requests of a good and a bad event, each of them until it is taken."""

    url: str
    key: str
    name: str
    stopped: threading.Event
    good: set[str] = field(default_factory=set)
    bad: set[str] = field(default_factory=set)
    refusals: int = 0
    last_success: float = 0.0

    def run(self) -> None:
        with Connection(self.url, ANSWER_SECONDS) as connection:
            while not self.stopped.is_set():
                name = f"{self.name}-{len(self.good)}"
                events = [native(id=name), native(id=f"{name}-bad", colour=1)]
                body = json.dumps(events[: 1 + len(self.good) % 2]).encode()
                while not self._is_taken(connection, body):
                    time.sleep(PAUSE_SECONDS)
                self.good.add(name)
                if len(self.good) % 2 == 0:
                    self.bad.add(f"{name}-bad")

    def _is_taken(self, connection: Connection, body: bytes) -> bool:
        connection.send(post("/v1/events", self.key, body))
        answer = connection.answer()
        assert answer is not None
        if answer.status == 202:
            assert answer.json["accepted"] == 1
            self.last_success = time.monotonic()
            return True
        assert (answer.status, answer.json["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
        self.refusals += 1
        return False


@contextmanager
def sending(url: str, key: str) -> Iterator[list[Sender]]:
    """Senders at work; what went wrong with one of them is raised at the end."""
    stopped = threading.Event()
    senders = [Sender(url, key, f"s{number}", stopped) for number in range(SENDERS)]
    with ThreadPoolExecutor(SENDERS) as pool:
        running: list[Future[None]] = [pool.submit(sender.run) for sender in senders]
        try:
            yield senders
        finally:
            # What a sender died of says more than that the others waited for it.
            stopped.set()
            for one in running:
                one.result()


def wait_for_successes(senders: list[Sender], seconds: float) -> None:
    """Return once each of them has had a success from now on."""
    since = time.monotonic()
    is_done: Callable[[Sender], bool] = lambda sender: sender.last_success > since  # noqa: E731
    while not all(map(is_done, senders)):
        assert time.monotonic() < since + seconds, "senders are still refused"
        time.sleep(PAUSE_SECONDS)


def ids_in_quarantine(service: Service) -> set[str]:
    s3, bucket = service.aws("s3"), service.settings.names.of(BUCKET_QUARANTINE)
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    found = [one["Key"] for page in pages for one in page.get("Contents", [])]
    bodies = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in found]
    return {json.loads(line)["event"]["id"] for body in bodies for line in body.splitlines()}


@pytest.mark.parametrize("trouble", ["down", "blackhole", "latency", "reset"])
def test_a_cut_network_loses_nothing_and_everybody_is_told_to_come_again(settings, tmp_path, trouble):
    provision(settings, processor_queues())
    with proxy(str(settings.aws_endpoint_url)) as network:
        through = settings.model_copy(update={"aws_endpoint_url": network.url})
        service = start(
            through, tmp_path, {"KINSTREAM_KEY_CACHE_SECONDS": "1", "KINSTREAM_AWS_TIMEOUT_SECONDS": "2"}
        )
        direct = Service(settings, service.url, service.process)
        key = Apps(direct.aws("dynamodb"), settings.names).create("demo", "write")
        try:
            with sending(service.url, key) as senders:
                wait_for_successes(senders, RECOVERY_SECONDS)
                # A busy emulator may be the reason for some: these are not of the trouble.
                before = sum(sender.refusals for sender in senders)
                network.cut(trouble, LATENCY_SECONDS)
                time.sleep(BLACKHOLE_SECONDS if trouble == "blackhole" else CUT_SECONDS)
                network.mend()
                wait_for_successes(senders, RECOVERY_SECONDS)
        finally:
            code = stop(service)
        assert code == 0
    assert trouble == "latency" or sum(sender.refusals for sender in senders) > before
    good = {event_id for sender in senders for event_id in sender.good}
    with direct.client(key) as client:
        app = App("demo", key, "", client, client)
        arrived = published(direct, app, "activity", len(good), and_no_more=True)
    assert {event.id for event in arrived} == good
    assert ids_in_quarantine(direct) == {event_id for sender in senders for event_id in sender.bad}
