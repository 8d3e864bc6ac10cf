"""Rows `ingest-50` and `ingest-1`: the real collector process against a bare one, both on the same core.

SNS and the registry are a stub in a process of its own that confirms at once, the load comes from a third
one, both on the other core. What counts is the CPU time of the measured process alone.
"""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.processes import cpu_seconds, free_port, pinned, server, stub_aws
from benchmarks.runner import Bench, MissingError, Result, interleave, ratio, spread
from kinstream import keys
from kinstream.aws import blocking_client
from kinstream.dynamo import to_item
from kinstream.events import format_time_ms
from kinstream.registry import create_key
from kinstream.resources import TABLE_REGISTRY
from kinstream.settings import CoreSettings

PREFIX = "bench"
CONNECTIONS = 64
_BODIES = 64
_LOAD_SECONDS = 120
_MOST = {"ingest-50": 2.0, "ingest-1": 2.5}


@dataclass(frozen=True)
class _Side:
    process: psutil.Process
    port: int


def measure(bench: Bench, name: str) -> Result:
    """The row of this name."""
    size = 50 if name == "ingest-50" else 1
    requests = bench.pick(1_500, 4_000) if size > 1 else bench.pick(15_000, 40_000)
    bodies = bench.folder / f"{name}.ndjson"
    bodies.write_bytes(b"\n".join(_bodies(size)))
    speeds: dict[str, list[dict[str, float]]] = {"ours": [], "bare": []}
    with _collector(bench.folder) as (ours, key), _bare() as bare:
        for side in (ours, bare):
            _load(side, bodies, key, requests // 4)

        def one(name: str, side: _Side) -> float:
            before = cpu_seconds(side.process)
            told = _load(side, bodies, key, requests)
            speeds[name].append(told)
            return (cpu_seconds(side.process) - before) / told["requests"] / size * 1e6

        readings = interleave(
            bench.pick(3, 7),
            {"bare": lambda _: one("bare", bare), "ours": lambda _: one("ours", ours)},
            bench.say,
        )
    reached = ratio(readings["ours"], readings["bare"])
    mine, peer = median(readings["ours"]), median(readings["bare"])
    rate = median(told["requests"] * size / told["seconds"] for told in speeds["ours"])
    p99_ms = median(told["p99_ms"] for told in speeds["ours"])
    return Result(
        f"{reached:.2f}x ({mine:.2f} against {peer:.2f} µs)",
        reached <= _MOST[name],
        [
            f"{CONNECTIONS} connections in a closed loop, {requests:,} requests a round, "
            f"{bodies.stat().st_size // _BODIES // size} bytes an event, ratio "
            f"{spread(readings['ours'], readings['bare'])}; in the loop {rate:,.0f} events/s, "
            f"p99 {p99_ms:.0f} ms; the peer checks nothing and stores nothing"
        ],
        {
            "ratio": reached,
            "cpu_us_per_event": mine,
            "cpu_us_per_event_bare": peer,
            "events_per_second": rate,
        },
    )


def _bodies(size: int) -> Iterator[bytes]:
    draw = random.Random(11)
    now_ms = time.time_ns() // 1_000_000
    for _ in range(_BODIES):
        events = [_event(draw, now_ms) for _ in range(size)]
        yield json.dumps(events if size > 1 else events[0], separators=(",", ":")).encode()


def _event(draw: random.Random, now_ms: int) -> dict[str, Any]:
    number = draw.randrange(10_000)
    return {
        "id": f"{draw.getrandbits(128):032x}",
        "type": draw.choice(("content.viewed", "content.liked", "screen.viewed")),
        "customer_id": f"fam-{number}",
        "device_id": f"ipad-{number}",
        "person_id": f"kid-{number}",
        "occurred_at": format_time_ms(now_ms - draw.randrange(60_000)),
        "data": {
            "content_id": f"story-{draw.randrange(1_000)}",
            "activity": "reading",
            "note": "".join(draw.choices("abcdefghij klmnopqrst", k=190)),
            "session": {"scroll": draw.random(), "screen": "library", "locale": "de-DE"},
        },
    }


@contextmanager
def _collector(folder: Path) -> Iterator[tuple[_Side, str]]:
    """ingest-api as it is, with a write key that it knows."""
    text, key = create_key("bench", "write")
    with stub_aws() as url:
        settings = CoreSettings(name_prefix=PREFIX, aws_endpoint_url=url)
        pk, sk = keys.api_key(key.app, key.hash)
        values = {"kind": key.kind, "hash": key.hash, "label": key.label}
        row = {"pk": pk, "sk": sk, **values, "created_at_ms": 0, "revoked_at_ms": None}
        table = settings.names.of(TABLE_REGISTRY)
        blocking_client("dynamodb", settings).put_item(TableName=table, Item=to_item(row))
        port = free_port()
        environment = {
            "KINSTREAM_NAME_PREFIX": PREFIX,
            "KINSTREAM_AWS_ENDPOINT_URL": url,
            "KINSTREAM_HTTP_PORT": str(port),
            "KINSTREAM_CATALOG_URL": f"sqlite:///{folder}/catalog.sqlite3",
            "KINSTREAM_LOG_LEVEL": "WARNING",
        }
        command = pinned(0, [sys.executable, "-m", "ingest_api.main"])
        with server(command, port, environment) as process:
            yield _Side(process, port), text


@contextmanager
def _bare() -> Iterator[_Side]:
    port = free_port()
    program = [sys.executable, "-m", "uvicorn", "benchmarks.bare_collector:app", "--port", str(port)]
    options = ["--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"]
    quiet = ["--lifespan", "off", "--no-server-header", "--no-proxy-headers", "--ws", "none"]
    with server(pinned(0, [*program, *options, *quiet]), port) as process:
        yield _Side(process, port)


def _load(side: _Side, bodies: Path, key: str, requests: int) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.load", "--port", str(side.port), "--bodies", str(bodies)]
    counts = ["--key", key, "--connections", str(CONNECTIONS), "--requests", str(requests)]
    try:
        done = subprocess.run(
            pinned(1, [*command, *counts]), capture_output=True, text=True, timeout=_LOAD_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"the load did not end within {_LOAD_SECONDS} s") from error
    if done.returncode:
        raise MissingError(f"the load generator failed: {done.stderr.strip().splitlines()[-1]}")
    told: dict[str, float] = json.loads(done.stdout)
    if told["refused"]:
        raise MissingError(f"{told['refused']:.0f} of {told['requests']:.0f} requests were refused")
    return told
