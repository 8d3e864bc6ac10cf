"""The event stream of a customer: real HTTP, a real Redis, which also goes away."""

import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import httpx
import pytest
import redis

from kinstream import live
from kinstream.catalog import migrate
from kinstream.settings import CoreSettings
from kinstream_devkit.embedded.emulator import HOST, free_port
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.browser import open_page
from tests.support.ingest import App, Service, start, stop
from tests.support.network import Connection
from tests.support.redis_server import redis_server
from tests.support.screens import Screen
from tests.support.screens import screen as screen_of
from tests.support.stack import eventually

CUSTOMER = "fam/1"
TIMEOUT_SECONDS = 120
VARIABLES = {
    "KINSTREAM_STREAM_HEARTBEAT_SECONDS": "0.3",
    "KINSTREAM_STREAM_MAX_PER_CUSTOMER": "3",
    "KINSTREAM_STREAM_MAX_WAITING_EVENTS": "50",
}


def screen(client: httpx.Client, customer_id: str = CUSTOMER) -> AbstractContextManager[Screen]:
    return screen_of(client, customer_id)


@pytest.fixture(scope="module")
def service(module_settings: CoreSettings, redis_url: str, tmp_path_factory) -> Iterator[Service]:
    folder: Path = tmp_path_factory.mktemp("stream")
    provision(module_settings, processor_queues())
    migrate(f"sqlite:///{folder}/catalog.sqlite3")
    running = start(module_settings, folder, VARIABLES | {"KINSTREAM_REDIS_URL": redis_url})
    yield running
    assert stop(running) == 0


@pytest.fixture
def publisher(service: Service, redis_url: str) -> Iterator[live.LivePublisher]:
    settings = service.settings.model_copy(update={"redis_url": redis_url, "redis_timeout_seconds": 10})
    made = live.open_publisher(settings)
    yield made
    made.close()


def open_streams(redis_url: str, prefix: str) -> int:
    """Channels of this deployment that anybody is subscribed to."""
    with redis.Redis.from_url(redis_url) as client:
        return len(client.pubsub_channels(f"{prefix}:live:*"))


def test_two_screens_see_what_happens_to_their_customer_in_order_and_nothing_else(app: App, publisher):
    with screen(app.reader) as one, screen(app.reader) as two, screen(app.reader, "fam-2") as other:
        publisher.publish("other-app", CUSTOMER, "media.ready", {"media_id": "not mine"})
        for percent in range(40):
            publisher.publish(app.name, CUSTOMER, "media.progress", {"media_id": "m1", "progress": percent})
        publisher.publish(app.name, CUSTOMER, "media.failed", {"reason": "two\nlines: \u2028 end"})
        publisher.publish(app.name, "fam-2", "media.ready", {"media_id": "m2"})
        for seen in (one, two):
            told = [seen.next() for _ in range(41)]
            assert [body["progress"] for kind, body in told[:40] if kind == "media.progress"] == list(
                range(40)
            )
            assert told[40] == ("media.failed", {"reason": "two\nlines: \u2028 end"})
        assert other.next() == ("media.ready", {"media_id": "m2"})


def test_a_quiet_stream_has_comments_and_tells_proxies_to_keep_nothing(app):
    with screen(app.reader) as one:
        assert one.response.headers["content-type"].startswith("text/event-stream")
        assert one.response.headers["cache-control"] == "no-store"
        one.wait_for_comment()
        one.wait_for_comment()


def test_screens_that_leave_are_forgotten_and_the_next_one_sees_again(app, publisher, service, redis_url):
    prefix = service.settings.name_prefix
    for _ in range(4):
        with screen(app.reader) as one, screen(app.reader), screen(app.reader):
            publisher.publish(app.name, CUSTOMER, "media.ready", {"media_id": "m1"})
            assert one.next()[0] == "media.ready"
        eventually(lambda: open_streams(redis_url, prefix) == 0, "nobody listens")


def test_a_customer_has_so_many_streams_and_no_more(app):
    with screen(app.reader), screen(app.reader), screen(app.reader):
        refused = app.reader.get("/v1/stream", params={"customer_id": CUSTOMER})
        assert (refused.status_code, refused.json()["code"]) == (429, "too_many_streams")
        assert int(refused.headers["retry-after"]) > 0
        with screen(app.reader, "fam-2"):
            pass


def test_a_client_that_reads_too_slowly_is_told_so_and_ended(app, publisher, service, redis_url):
    with Connection(service.url) as slow:
        key = f"Host: x\r\nAuthorization: Bearer {app.secret_key}\r\n\r\n"
        slow.send(f"GET /v1/stream?customer_id=slow HTTP/1.1\r\n{key}".encode())
        received = slow.socket.recv(4096)
        while b"stream.opened" not in received:
            received += slow.socket.recv(4096)
        with screen(app.reader, "slow") as quick:
            # More than what waits here and what the system holds between the two.
            for number in range(400):
                publisher.publish(app.name, "slow", "media.progress", {"number": number, "pad": "x" * 40_000})
                assert quick.next()[1]["number"] == number
        while piece := slow.socket.recv(65_536):
            received = received[-200:] + piece
            if b"stream.closed" in received:
                break
    assert b'{"reason":"too_slow"}' in received


def test_a_browser_opens_it_by_a_signed_url_that_is_for_this_customer_alone(app, service, publisher):
    made = app.reader.post("/v1/stream-urls", params={"customer_id": CUSTOMER}).json()
    assert made["url"].startswith(service.url)
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as browser:
        origin = {"Origin": "https://app.example.com"}
        with browser.stream("GET", made["url"], headers=origin, timeout=TIMEOUT_SECONDS) as response:
            assert response.headers["access-control-allow-origin"] == "*"
            one = Screen(response)
            assert one.next()[0] == "stream.opened"
            publisher.publish(app.name, CUSTOMER, "media.ready", {"media_id": "m1"})
            assert one.next() == ("media.ready", {"media_id": "m1"})
        other = made["url"].replace("fam%2F1", "fam-2")
        assert browser.get(other).json()["code"] == "invalid_signature"
        assert browser.get("/v1/stream", params={"customer_id": CUSTOMER}).json()["code"] == "missing_key"


PAGE = """<!doctype html><script type="module">
const tell = (told) => fetch("/told", { method: "POST", body: JSON.stringify(told) });
const { url } = await (await fetch("/config.json")).json();
const source = new EventSource(url);
for (const kind of ["stream.opened", "media.ready", "stream.closed"])
  source.addEventListener(kind, (event) => tell([kind, JSON.parse(event.data)]));
</script>"""


def test_a_real_browser_hears_and_connects_again_by_itself(app, service, publisher, redis_url, tmp_path):
    made = app.reader.post("/v1/stream-urls", params={"customer_id": CUSTOMER}).json()
    page = tmp_path / "page.html"
    page.write_text(PAGE)
    with open_page(page, {}, {"url": made["url"]}, tmp_path) as opened:
        for number in range(2):
            assert opened.told(TIMEOUT_SECONDS) == ["stream.opened", {}]
            publisher.publish(app.name, CUSTOMER, "media.ready", {"media_id": f"m{number}"})
            assert opened.told(TIMEOUT_SECONDS) == ["media.ready", {"media_id": f"m{number}"}]
            if number == 0:
                with redis.Redis.from_url(redis_url) as client:
                    client.client_kill_filter(_type="pubsub")
                assert opened.told(TIMEOUT_SECONDS) == ["stream.closed", {"reason": "unavailable"}]


def test_without_redis_it_is_503_at_the_start(module_settings, app, service, tmp_path):
    second = start(module_settings, tmp_path)
    try:
        with second.client(app.secret_key) as client:
            answer = client.get("/v1/stream", params={"customer_id": CUSTOMER})
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0
    finally:
        assert stop(second) == 0


def test_streams_end_when_redis_goes_away_and_open_again_when_it_is_back(
    module_settings, app, service, tmp_path
):
    port = free_port()
    url = f"redis://{HOST}:{port}/0"
    settings = module_settings.model_copy(update={"redis_url": url, "redis_timeout_seconds": 10})
    second = start(module_settings, tmp_path, VARIABLES | {"KINSTREAM_REDIS_URL": url})
    try:
        with second.client(app.secret_key) as client:
            for _ in range(2):
                with ExitStack() as leaving:
                    with redis_server(port):
                        publisher = live.open_publisher(settings)
                        one = leaving.enter_context(screen(client))
                        assert publisher.publish(app.name, CUSTOMER, "media.ready", {"media_id": "m1"})
                        assert one.next() == ("media.ready", {"media_id": "m1"})
                    assert one.next() == ("stream.closed", {"reason": "unavailable"})
                    assert list(one.events()) == []
    finally:
        assert stop(second) == 0


def test_at_sigterm_open_streams_are_told_and_the_process_ends_at_once(
    module_settings, app, redis_url, tmp_path
):
    # Far longer than the test: only an end of the streams lets the process end.
    patient = {"KINSTREAM_SHUTDOWN_GRACE_SECONDS": "300", "KINSTREAM_REDIS_URL": redis_url}
    second = start(module_settings, tmp_path, VARIABLES | patient)
    with second.client(app.secret_key) as client, screen(client) as one, screen(client) as two:
        second.process.send_signal(signal.SIGTERM)
        for seen in (one, two):
            assert seen.next() == ("stream.closed", {"reason": "stopping"})
            assert list(seen.events()) == []
    assert second.process.wait(TIMEOUT_SECONDS) == 0
