"""Row `fairness`: how long a quiet app waits for answers alone, and beside an app at ten times its limit.

The collector has one core, the senders, SNS and Redis the other. Both senders hold a number of connections,
each with one request under way at most, and begin a request at fixed times as long as answers come in time.
`python -m benchmarks.fairness` is such a sender: it prints one line of JSON about what it met.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import uvloop

from benchmarks.processes import free_port, pinned, redis, server, stub_aws
from benchmarks.runner import Bench, MissingError, Result, interleave, ratio, spread
from kinstream import keys
from kinstream.aws import blocking_client
from kinstream.dynamo import to_item
from kinstream.events import format_time_ms
from kinstream.registry import create_key
from kinstream.resources import TABLE_REGISTRY
from kinstream.settings import CoreSettings

PREFIX = "bench"
LIMIT_PER_SECOND = 5_000
BURST = 10_000
NOISE = 10
"""Times its limit."""
_NOISY_EVENTS = 50
_QUIET_PER_SECOND = 200
_MOST = 2.0
_HEAD_START_SECONDS = 1.0
"""Until the noisy app has used up its burst: afterwards it is at its limit all the time."""


@dataclass(frozen=True)
class _Api:
    port: int
    quiet_key: str
    noisy_key: str


def measure(bench: Bench, _: str) -> Result:
    """The row."""
    seconds = bench.pick(3, 5)
    noise: list[dict[str, float]] = []
    with _api(bench.folder) as api:
        _told(_quiet(api, 2))

        def beside(_: int) -> float:
            noisy = _noisy(api, seconds + _HEAD_START_SECONDS + 1)
            try:
                time.sleep(_HEAD_START_SECONDS)
                p99_ms = _p99_ms(api, seconds)
            finally:
                noise.append(_told(noisy))
            return p99_ms

        sides = {"alone": lambda _: _p99_ms(api, seconds), "beside": beside}
        readings = interleave(bench.pick(5, 11), sides, bench.say)
    reached = ratio(readings["beside"], readings["alone"])
    offered = median(told["sent"] * _NOISY_EVENTS / told["seconds"] for told in noise)
    taken = median(told["taken"] * _NOISY_EVENTS / told["seconds"] for told in noise)
    refused = sum(told["refused"] for told in noise)
    if not refused or any(told["failed"] for told in noise):
        raise MissingError("the noisy app was not slowed down, or met other errors: nothing was measured")
    return Result(
        f"{reached:.2f}x ({median(readings['beside']):.1f} against {median(readings['alone']):.1f} ms)",
        reached <= _MOST,
        [
            f"p99 of {_QUIET_PER_SECOND} one-event requests/s, none refused; beside it {offered:,.0f}"
            f" events/s, {taken:,.0f} taken (limit {LIMIT_PER_SECOND:,}, burst {BURST:,}), others 429;"
            f" ratio {spread(readings['beside'], readings['alone'])}"
        ],
        {"ratio": reached, "p99_ms_alone": median(readings["alone"]), "noisy_events_per_second": offered},
    )


def _p99_ms(api: _Api, seconds: float) -> float:
    told = _told(_quiet(api, seconds))
    if told["refused"] or told["failed"]:
        raise MissingError("the quiet app was refused")
    return told["p99_ms"]


def _quiet(api: _Api, seconds: float) -> subprocess.Popen[str]:
    return _sender(api, api.quiet_key, seconds, connections=4, per_second=_QUIET_PER_SECOND, events=1)


def _noisy(api: _Api, seconds: float) -> subprocess.Popen[str]:
    per_second = LIMIT_PER_SECOND * NOISE / _NOISY_EVENTS
    return _sender(api, api.noisy_key, seconds, connections=16, per_second=per_second, events=_NOISY_EVENTS)


def _sender(
    api: _Api, key: str, seconds: float, *, connections: int, per_second: float, events: int
) -> subprocess.Popen[str]:
    where = ["--port", str(api.port), "--key", key, "--seconds", str(seconds)]
    pace = ["--connections", str(connections), "--per-second", str(per_second), "--events", str(events)]
    # The noisy sender yields the core that they share: how the server treats the quiet one is measured.
    niceness = ["--nice", "10" if key == api.noisy_key else "0"]
    command = pinned(1, [sys.executable, "-m", "benchmarks.fairness", *where, *pace, *niceness])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _told(sender: subprocess.Popen[str]) -> dict[str, float]:
    out, err = sender.communicate()
    if sender.returncode:
        raise MissingError(f"a sender failed: {err.strip().splitlines()[-1]}")
    told: dict[str, float] = json.loads(out)
    return told


@contextmanager
def _api(folder: Path) -> Iterator[_Api]:
    """ingest-api with a real Redis, and with two apps that it knows."""
    port = free_port()
    with stub_aws() as url, redis(folder) as redis_url:
        settings = CoreSettings(name_prefix=PREFIX, aws_endpoint_url=url)
        quiet_key, noisy_key = (_register(settings, app) for app in ("quiet", "noisy"))
        environment = {
            "KINSTREAM_NAME_PREFIX": PREFIX,
            "KINSTREAM_AWS_ENDPOINT_URL": url,
            "KINSTREAM_REDIS_URL": redis_url,
            "KINSTREAM_MEDIA_URL_KEY": "a key for signed urls, never used",
            "KINSTREAM_HTTP_PORT": str(port),
            "KINSTREAM_CATALOG_URL": f"sqlite:///{folder}/catalog.sqlite3",
            "KINSTREAM_RATE_LIMIT_EVENTS_PER_SECOND": str(LIMIT_PER_SECOND),
            "KINSTREAM_RATE_LIMIT_BURST_EVENTS": str(BURST),
            "KINSTREAM_LOG_LEVEL": "ERROR",
        }
        with server(pinned(0, [sys.executable, "-m", "ingest_api.main"]), port, environment):
            yield _Api(port, quiet_key, noisy_key)


def _register(settings: CoreSettings, app: str) -> str:
    text, key = create_key(app, "write")
    pk, sk = keys.api_key(key.app, key.hash)
    values = {"kind": key.kind, "hash": key.hash, "label": key.label}
    row = {"pk": pk, "sk": sk, **values, "created_at_ms": 0, "revoked_at_ms": None}
    table = settings.names.of(TABLE_REGISTRY)
    blocking_client("dynamodb", settings).put_item(TableName=table, Item=to_item(row))
    return text


class _Sender:
    """One connection that begins a request every `pause_seconds`, or when the answer before has come."""

    def __init__(self, request: bytes, pause_seconds: float) -> None:
        self._request = request
        self._pause_seconds = pause_seconds
        self.delays_seconds: list[float] = []
        self.statuses: dict[int, int] = {}

    async def run(self, port: int, begin: float, end: float) -> None:
        """Send from `begin` to `end`, in the clock of `time.perf_counter`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        due = begin
        while due < end:
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            sent = time.perf_counter()
            writer.write(self._request)
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            self.delays_seconds.append(time.perf_counter() - sent)
            status = int(head.split(None, 2)[1])
            self.statuses[status] = self.statuses.get(status, 0) + 1
            due = max(due + self._pause_seconds, sent)
        writer.close()


async def _send(args: argparse.Namespace) -> dict[str, float]:
    now_ms = time.time_ns() // 1_000_000
    event = {
        "type": "screen.viewed",
        "customer_id": "fam-1",
        "device_id": "ipad-1",
        "data": {"note": "x" * 250},
    }
    event["occurred_at"] = format_time_ms(now_ms)
    body = json.dumps([event | {"id": f"{now_ms}-{number}"} for number in range(args.events)]).encode()
    head = f"POST /v1/events HTTP/1.1\r\nHost: 127.0.0.1:{args.port}\r\nAuthorization: Bearer {args.key}\r\n"
    request = head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    pause_seconds = args.connections / args.per_second
    senders = [_Sender(request, pause_seconds) for _ in range(args.connections)]
    begin = time.perf_counter()
    starts = [begin + pause_seconds * number / args.connections for number in range(args.connections)]
    both = zip(senders, starts, strict=True)
    await asyncio.gather(*(sender.run(args.port, start, begin + args.seconds) for sender, start in both))
    delays = sorted(delay for sender in senders for delay in sender.delays_seconds)
    taken, refused = (sum(sender.statuses.get(status, 0) for sender in senders) for status in (202, 429))
    return {
        "sent": len(delays),
        "taken": taken,
        "refused": refused,
        "failed": len(delays) - taken - refused,
        "seconds": time.perf_counter() - begin,
        "p99_ms": delays[len(delays) * 99 // 100] * 1000,
    }


def main() -> None:
    """Send, measure, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--per-second", type=float, required=True, help="requests, over all connections")
    parser.add_argument("--events", type=int, required=True, help="events in a request")
    parser.add_argument("--nice", type=int, default=0)
    args = parser.parse_args()
    os.nice(args.nice)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(_send(args))))


if __name__ == "__main__":
    main()
