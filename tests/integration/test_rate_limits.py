"""Limits as clients meet them: 429 with Retry-After, per key, and none where Redis is away."""

import re
import threading
import uuid
from collections.abc import Iterator

import httpx
import pytest

from kinstream.catalog import migrate
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import Apps
from kinstream_devkit.embedded.emulator import HOST
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.ingest import Service, native, published, start, stop
from tests.support.network import NOBODYS_PORT
from tests.support.stack import eventually

BURST = 2_000
PER_SECOND = 100


@pytest.fixture(scope="module")
def service(
    module_settings: CoreSettings, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("rate-limits")
    provision(module_settings, processor_queues())
    migrate(f"sqlite:///{folder}/catalog.sqlite3")
    running = start(module_settings, folder, limits() | {"KINSTREAM_REDIS_URL": redis_url})
    yield running
    assert stop(running) == 0


def limits() -> dict[str, str]:
    return {
        "KINSTREAM_RATE_LIMIT_EVENTS_PER_SECOND": str(PER_SECOND),
        "KINSTREAM_RATE_LIMIT_BURST_EVENTS": str(BURST),
        "KINSTREAM_RATE_LIMIT_REQUESTS_PER_SECOND": "1",
        "KINSTREAM_RATE_LIMIT_BURST_REQUESTS": "5",
    }


def use_up(writer: httpx.Client, size: int = 500) -> tuple[int, httpx.Response]:
    """(events that were taken, the answer to the first request that was not)."""
    taken = 0
    while True:
        answer = writer.post("/v1/events", json=[native() for _ in range(size)])
        if answer.status_code != 202:
            return taken, answer
        taken += answer.json()["accepted"]
        assert taken < 20 * BURST, "there is no limit"


def test_a_key_that_sends_too_many_events_is_told_when_to_come_back(app):
    taken, refused = use_up(app.writer)
    assert taken >= BURST - 500
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    # 500 events are there after 5 s at the latest.
    assert 1 <= int(refused.headers["retry-after"]) <= 5
    assert set(refused.json()) == {"code", "message", "detail"}


def test_one_key_does_not_use_up_anothers_allowance(service, app):
    use_up(app.writer)
    assert app.reader.post("/v1/events", json=native()).status_code == 202


def test_reading_has_a_limit_of_its_own(app):
    answers = [app.reader.get("/v1/trending") for _ in range(5)]
    while answers[-1].status_code == 200:
        answers.append(app.reader.get("/v1/trending"))
        assert len(answers) < 1_000, "there is no limit"
    assert {answer.status_code for answer in answers} == {200, 429}
    assert [answer.status_code for answer in answers[:4]] == [200] * 4
    refused = answers[-1]
    assert refused.json()["code"] == "rate_limited"
    assert int(refused.headers["retry-after"]) >= 1
    assert app.reader.post("/v1/events", json=native()).status_code == 202


def test_two_processes_share_one_allowance(module_settings, service, app, redis_url, tmp_path):
    migrate(f"sqlite:///{tmp_path}/catalog.sqlite3")
    second = start(module_settings, tmp_path, limits() | {"KINSTREAM_REDIS_URL": redis_url})
    try:
        use_up(app.writer)
        with second.client(app.write_key) as elsewhere:
            answer = elsewhere.post("/v1/events", json=[native() for _ in range(1_000)])
            assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    finally:
        assert stop(second) == 0


def test_without_redis_requests_pass_and_a_metric_says_so(module_settings, app, tmp_path):
    migrate(f"sqlite:///{tmp_path}/catalog.sqlite3")
    absent = {"KINSTREAM_REDIS_URL": f"redis://{HOST}:{NOBODYS_PORT}/0"}
    alone = start(module_settings, tmp_path, limits() | absent)
    try:
        with alone.client(app.write_key) as writer, alone.client(app.secret_key) as reader:
            for _ in range(3):
                sent = writer.post("/v1/events", json=[native() for _ in range(1_000)])
                assert sent.status_code == 202
            assert {reader.get("/v1/trending").status_code for _ in range(10)} == {200}
            text = reader.get("/metrics").text
    finally:
        assert stop(alone) == 0
    found = re.search(r"^kinstream_rate_limit_unavailable_total (\S+)$", text, re.MULTILINE)
    assert found is not None
    assert float(found[1]) == 13


def test_a_noisy_app_is_slowed_down_and_a_quiet_one_beside_it_loses_nothing(service, app):
    """The noisy one sends in a closed loop, ten times its limit and more; the quiet one well below it."""
    noisy_key = Apps(service.aws("dynamodb"), service.settings.names).create(
        f"noisy{uuid.uuid4().hex[:8]}", "write"
    )
    over = threading.Event()
    noisy: list[int] = []

    def shout() -> None:
        with service.client(noisy_key) as client:
            while not over.is_set():
                noisy.append(client.post("/v1/events", json=[native() for _ in range(50)]).status_code)

    threads = [threading.Thread(target=shout) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        eventually(lambda: noisy.count(429) > 20, "the noisy app is limited")
        sent = [native() for _ in range(60)]
        quiet = [app.writer.post("/v1/events", json=one).status_code for one in sent]
    finally:
        over.set()
        for thread in threads:
            thread.join()
    assert quiet == [202] * len(sent)
    assert noisy.count(429) > noisy.count(202) > 0
    assert set(noisy) == {202, 429}
    arrived = [event.id for event in published(service, app, "content", len(sent), and_no_more=True)]
    assert sorted(arrived) == sorted(one["id"] for one in sent)
