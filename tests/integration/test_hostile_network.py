"""Clients that stall, lie, flood or vanish: each hears what is wrong or is given up; others are served."""

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from kinstream_devkit.apps import Apps
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.ingest import App, Service, native, published, start, stop
from tests.support.network import Answered, Connection, chunk, memory_growth_bytes, post

EVENTS = "/v1/events"
LIMIT_BYTES = 1024 * 1024
MEGABYTE = 1_000_000
GIGABYTE = 1_000_000_000


def told(answer: Answered | None) -> tuple[int, str]:
    """Status and code of an error in the form that all errors have."""
    assert answer is not None
    assert set(answer.json) == {"code", "message", "detail"}
    return answer.status, answer.json["code"]


def still_serves(service: Service, app: App) -> None:
    answer = app.writer.post(EVENTS, json=native())
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1, "rejected": []})
    metrics = httpx.get(service.url + "/metrics", timeout=60, trust_env=False).text
    assert "kinstream_backlog_events 0.0" in metrics


def gzip_bomb(inflated_bytes: int) -> bytes:
    """Zeros, a thousand times as many as it has bytes itself."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    start_of_stream = packer.compress(b"\0" * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(b"\0" * MEGABYTE) + packer.flush(zlib.Z_FULL_FLUSH)
    return start_of_stream + again * (inflated_bytes // MEGABYTE - 1) + packer.flush()


def zstd_bomb(inflated_bytes: int) -> bytes:
    """One frame of run-length blocks: each gives 128 KiB for four bytes."""
    window_of_128_kib = bytes([7 << 3])
    run = (0b010 | 128 * 1024 << 3).to_bytes(3, "little") + b"\0"
    last = (0b011 | 128 * 1024 << 3).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\0" + window_of_128_kib + run * (inflated_bytes // (128 * 1024)) + last


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", gzip_bomb(GIGABYTE)),
        ("gzip", gzip_bomb(10 * GIGABYTE)),
        ("zstd", zstd_bomb(10 * GIGABYTE)),
    ],
    ids=["gzip of 1 GB", "gzip of 10 GB", "zstd of 10 GB"],
)
@pytest.mark.parametrize("path", [EVENTS, "/v1/batch", "/batch/"])
def test_a_bomb_is_refused_and_never_inflated(service, app, path, encoding, bomb):
    with memory_growth_bytes(service.process.pid) as growth:
        for _ in range(3):
            with Connection(service.url) as connection:
                connection.send(post(path, app.write_key, bomb, f"Content-Encoding: {encoding}"))
                assert told(connection.answer()) == (413, "body_too_large")
    assert growth() < 100 * MEGABYTE
    still_serves(service, app)


def test_a_bomb_that_does_not_say_so_is_refused_too(service, app):
    with Connection(service.url) as connection:
        connection.send(post("/v1/batch", app.write_key, gzip_bomb(GIGABYTE)))
        assert told(connection.answer()) == (413, "body_too_large")


@pytest.mark.parametrize("length", [LIMIT_BYTES + 1, 10**12, 2**63 - 1])
def test_a_body_that_is_said_to_be_too_large_is_refused_unread(service, app, length):
    with Connection(service.url) as connection:
        connection.send(post(EVENTS, app.write_key, b"", length=length))
        assert told(connection.answer()) == (413, "body_too_large")


@pytest.mark.parametrize("path", [EVENTS, "/v1/customers/c/places/p"])
def test_who_sends_on_after_its_refusal_can_still_read_it(service, app, path):
    method = b"POST" if path == EVENTS else b"PUT"
    head = post(path, app.secret_key, b"", length=100 * MEGABYTE).replace(b"POST", method, 1)
    with memory_growth_bytes(service.process.pid) as growth, Connection(service.url) as connection:
        connection.send(head)
        connection.send_while_taken(b" " * MEGABYTE, 20)
        assert told(connection.answer()) == (413, "body_too_large")
        assert connection.is_closed()
    assert growth() < 20 * MEGABYTE


def test_a_chunked_body_over_the_limit_is_refused_and_one_below_it_is_taken(service, app):
    head = post(EVENTS, app.write_key, b"", "Transfer-Encoding: chunked").replace(
        b"Content-Length: 0\r\n", b""
    )
    with memory_growth_bytes(service.process.pid) as growth, Connection(service.url) as connection:
        connection.send(head)
        connection.send_while_taken(chunk(b" " * 100_000), 1_000)
        assert told(connection.answer()) == (413, "body_too_large")
    assert growth() < 20 * MEGABYTE
    event = json.dumps(native()).encode()
    with Connection(service.url) as connection:
        for _ in range(2):
            connection.send(head, *[chunk(event[at : at + 7]) for at in range(0, len(event), 7)])
            connection.send(chunk(b" " * 200_000) * 5, chunk(b"")[:-2], b"X-Trailer: 1\r\n\r\n")
            answer = connection.answer()
            assert answer
            assert answer.status == 202, answer


def test_a_length_that_lies_costs_only_the_liar(service, app):
    event = json.dumps(native(id="whole")).encode()
    with Connection(service.url) as short:
        short.send(post(EVENTS, app.write_key, event, length=len(event) - 10))
        assert told(short.answer()) == (400, "invalid_json")
        assert short.is_closed()
    with Connection(service.url) as long:
        long.send(post(EVENTS, app.write_key, event, length=len(event) + 10))
    still_serves(service, app)
    assert [
        event.id for event in published(service, app, "activity", 1, and_no_more=True) if event.id == "whole"
    ] == []


def test_a_body_that_breaks_off_leaves_nothing_behind(service, app):
    event = json.dumps(native(id="broken off")).encode()
    for _ in range(20):
        connection = Connection(service.url)
        connection.send(post(EVENTS, app.write_key, event, length=len(event) + 1))
        connection.reset()
    still_serves(service, app)
    assert [
        event.id
        for event in published(service, app, "activity", 1, and_no_more=True)
        if event.id == "broken off"
    ] == []


def test_who_leaves_before_the_answer_may_send_again(service, app):
    ids = [f"gone-{number}" for number in range(20)]
    for event_id in ids:
        connection = Connection(service.url)
        connection.send(post(EVENTS, app.write_key, json.dumps(native(id=event_id)).encode()))
        connection.reset()
    answer = app.writer.post(EVENTS, json=[native(id=event_id) for event_id in ids])
    assert answer.json() == {"accepted": 20, "rejected": []}
    arrived = published(service, app, "activity", 20, and_no_more=True)
    assert {event.id for event in arrived} == set(ids)
    still_serves(service, app)


def test_pipelined_requests_are_answered_in_their_order(service, app):
    requests = [post(EVENTS, app.write_key, json.dumps(native(id="", n=n)).encode()) for n in range(100)]
    strangers = [post(EVENTS, "kw_nobody", b"{}"), b"GET /healthz HTTP/1.1\r\nHost: ingest\r\n\r\n"]
    with Connection(service.url) as connection:
        connection.send(b"".join([*requests, *strangers]))
        answers = [connection.answer() for _ in range(102)]
    assert [answer.status for answer in answers if answer] == [202] * 100 + [401, 200]


def test_http_1_0_is_answered_and_closed(service, app):
    with Connection(service.url) as connection:
        request = post(EVENTS, app.write_key, json.dumps(native()).encode())
        connection.send(request.replace(b"HTTP/1.1", b"HTTP/1.0"))
        answer = connection.answer()
        assert answer
        assert answer.status == 202
        assert connection.is_closed()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /v1/events\r\n\r\n",
        b"GET \xff\xfe HTTP/1.1\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
        b"POST /v1/events HTTP/1.1\r\nHost: x\r\nname: a\0b\r\n\r\n",
        b"\r\n" * 100_000,
        b"\0" * 100_000,
        b"CONNECT evil:80 HTTP/1.1\r\nHost: evil\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_no_request_is_refused_in_the_form_of_all_errors(service, app, garbage):
    with Connection(service.url) as connection:
        connection.send_while_taken(garbage, 1)
        status, _ = told(connection.answer())
        assert 400 <= status < 500
    still_serves(service, app)


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"GET /", b"x" * 100_000),
        (b"GET / HTTP/1.1\r\nX: ", b"x" * 100_000),
        (b"GET / HTTP/1.1\r\n", b"X-Name: value\r\n" * 5_000),
        (b"POST /v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n" * 10_000),
        (b"POST /v1/events HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"1;" + b"x" * 100_000),
    ],
    ids=["address", "header", "headers", "trailers", "extension"],
)
def test_a_head_without_end_is_refused_and_never_held(service, app, beginning, piece):
    known = f"\r\nAuthorization: Bearer {app.write_key}\r\n".encode()
    for start_of_request in (beginning, beginning.replace(b"\r\n", known, 1)):
        with memory_growth_bytes(service.process.pid) as growth, Connection(service.url) as connection:
            connection.send(start_of_request)
            connection.send_while_taken(piece, 200)
            assert told(connection.answer()) in {(431, "head_too_large"), (401, "missing_key")}
            assert connection.is_closed()
        assert growth() < 20 * MEGABYTE
    still_serves(service, app)


def test_a_large_but_honest_head_is_taken(service, app):
    event = json.dumps(native()).encode()
    with Connection(service.url) as connection:
        for _ in range(3):
            connection.send(post(EVENTS, app.write_key, event, "X-Long: " + "x" * 30_000))
            answer = connection.answer()
            assert answer
            assert answer.status == 202


def test_who_asks_first_whether_to_send_is_told(service, app):
    event = json.dumps(native()).encode()
    with Connection(service.url) as connection:
        connection.send(post(EVENTS, app.write_key, b"", "Expect: 100-continue", length=len(event)))
        go_on = connection.answer()
        assert go_on
        assert go_on.status == 100
        connection.send(event)
        answer = connection.answer()
        assert answer
        assert answer.status == 202
    for key, length, expected in [
        ("kw_nobody", len(event), (401, "unknown_key")),
        (app.write_key, 2 * LIMIT_BYTES, (413, "body_too_large")),
    ]:
        with Connection(service.url) as connection:
            connection.send(post(EVENTS, key, b"", "Expect: 100-continue", length=length))
            assert told(connection.answer()) == expected


def test_idle_connections_keep_nobody_waiting(service, app):
    with ExitStack() as open_connections:
        for number in range(500):
            connection = open_connections.enter_context(Connection(service.url))
            if number % 2:
                connection.send(b"POST /v1/events HTTP/1.1\r\nHost: ingest\r\n")
        for _ in range(20):
            still_serves(service, app)


@pytest.fixture(scope="module")
def hasty(module_settings, tmp_path_factory) -> Iterator[Service]:
    """An ingest-api that waits for heads and bodies no longer than a moment."""
    provision(module_settings, processor_queues())
    limits = {"KINSTREAM_HEAD_TIMEOUT_SECONDS": "1.5", "KINSTREAM_BODY_TIMEOUT_SECONDS": "1"}
    running = start(module_settings, tmp_path_factory.mktemp("hasty"), limits)
    yield running
    assert stop(running) == 0


def trickle(connection: Connection, seconds: float) -> None:
    """Send a byte now and then, for as long as the server takes any."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and connection.send_while_taken(b"x", 1):
        time.sleep(0.05)


def test_a_body_that_trickles_is_given_up_and_told_so(hasty):
    key = Apps(hasty.aws("dynamodb"), hasty.settings.names).create("demo", "write")
    for path in (EVENTS, "/v1/batch"):
        with Connection(hasty.url) as connection:
            connection.send(post(path, key, b"", length=10_000))
            trickle(connection, 60)
            answer = connection.answer()
            # Segment's clients send again after any 5xx and not all of them after a 408.
            assert told(answer) == (408 if path == EVENTS else 503, "body_too_slow")
            assert answer
            assert answer.is_last
            assert connection.is_closed()


def test_a_connection_on_which_no_head_arrives_in_time_is_closed(hasty):
    with Connection(hasty.url) as silent, Connection(hasty.url) as slow, Connection(hasty.url) as again:
        slow.send(b"POST /v1/events HTTP/1.1\r\nX-Slow: ")
        again.send(b"GET /healthz HTTP/1.1\r\nHost: ingest\r\n\r\n")
        answer = again.answer()
        assert answer
        assert answer.status == 200
        again.send(b"GET /")
        trickle(slow, 60)
        trickle(again, 60)
        assert silent.is_closed()
        assert slow.is_closed()
        assert again.is_closed()
