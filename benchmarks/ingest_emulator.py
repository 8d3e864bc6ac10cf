"""Row `ingest-emulator`: no event is lost at 5,000 events a second, with a real SNS and SQS emulator behind.

The clients are told to send again what is refused for now. In the end each event must have been
acknowledged, and must be in the queue of a processor that takes every type.
"""

import time
from typing import Any

from benchmarks import collectors
from benchmarks.bodies import write_bodies
from benchmarks.collectors import APP, PREFIX
from benchmarks.loading import open_loop
from benchmarks.runner import Bench, Result
from kinstream.aws import blocking_client
from kinstream.chunks import decode_chunk
from kinstream.settings import CoreSettings
from kinstream_devkit.apps import Apps
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from tests.support.ministack import ministack

_EVENTS_PER_SECOND = 5_000
_SIZE = 50
_PROCESSOR = "archive"
_QUIET_RECEIVES = 3
_COUNT_SECONDS = 300
_HELD = 0.99
"""Of the pace: the last answers come a moment after the last requests."""


def measure(bench: Bench, name: str) -> Result:
    """The row. A slow emulator shows as refusals, sent again, and as a lower rate; never as a lost event."""
    seconds = bench.pick(10, 60)
    bodies = write_bodies(bench.folder / f"{name}.ndjson", [_SIZE], own_ids=False)
    bench.say("starting the emulator")
    with ministack() as url:
        settings = CoreSettings(name_prefix=PREFIX, aws_endpoint_url=url)
        provision(settings, processor_queues())
        key = Apps(blocking_client("dynamodb", settings), settings.names).create(APP, "write")
        with collectors.ingest_api(bench.folder, settings, key) as side:
            bench.say(f"{seconds} s at {_EVENTS_PER_SECOND:,} events/s")
            options = ["--size", _SIZE, "--connections", 512, "--again"]
            told = open_loop(side, bodies, _EVENTS_PER_SECOND / _SIZE, seconds, options)
        sent, taken = told["requests"] * _SIZE, told["taken"] * _SIZE
        bench.say(f"counting {taken:,} events in the queue")
        arrived, copies = _arrived(settings, sent)
    rate = taken / max(told["seconds"], seconds)
    lost = taken - arrived
    return Result(
        f"{arrived:,} of {sent:,} arrived, {rate:,.0f} events/s",
        sent == taken == arrived and rate >= _HELD * _EVENTS_PER_SECOND,
        [
            f"{seconds} s in requests of {_SIZE}: {sent:,} sent, {taken:,} acknowledged, {arrived:,} "
            f"different ones in the queue of `{_PROCESSOR}`, {copies:,} copies beside; {told['refusals']:,} "
            f"answers said to come back, and those requests were sent again; p99 until acknowledged "
            f"{_ms(told['p99_ms'])}, longest {_ms(told['most_ms'])}"
        ],
        {"events_per_second": rate, "acknowledged": taken, "arrived": arrived, "lost": lost},
    )


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.0f} ms"


def _arrived(settings: CoreSettings, expected: int) -> tuple[int, int]:
    """(how many different events are in the queue, how many copies beside). Reads it until it stays empty."""
    sqs: Any = blocking_client("sqs", settings)
    url = sqs.get_queue_url(QueueName=settings.names.processor_queue(_PROCESSOR))["QueueUrl"]
    seen: set[str] = set()
    count = quiet = 0
    deadline = time.monotonic() + _COUNT_SECONDS
    while quiet < _QUIET_RECEIVES and time.monotonic() < deadline:
        wait_seconds = int(len(seen) >= expected or quiet > 0)
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds)
        messages = answer.get("Messages", [])
        quiet = 0 if messages else quiet + 1
        for message in messages:
            ids = [event.id for event in decode_chunk(message["Body"]).events]
            seen.update(ids)
            count += len(ids)
        if messages:
            handles = [{"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(messages)]
            sqs.delete_message_batch(QueueUrl=url, Entries=handles)
    return len(seen), count - len(seen)
