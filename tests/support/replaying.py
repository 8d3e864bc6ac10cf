"""An archive with events in it, and a worker that takes what a replay sends."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path

from kinstream.aws import blocking_client
from kinstream.events import Event
from kinstream.queues import SqsQueue
from kinstream.resources import BUCKET_ARCHIVE
from kinstream.settings import CoreSettings
from kinstream_devkit.replay import Archive as ArchiveBucket
from kinstream_devkit.replay import Replay, ReplayLog, Report, Span
from kinstream_devkit.replay_queue import Pace, ReplayQueue
from session_worker.processor import Processor
from session_worker.processors.archive import Archive
from tests.support.engine import APP, Engine

FAST = 1_000_000.0


def archive(settings: CoreSettings, batch_id: str, events: Sequence[Event], app: str = APP) -> list[str]:
    """Archive events as the worker would; the keys of the files."""
    files = [*Archive().files(batch_id, {app: events})]
    with closing(blocking_client("s3", settings)) as s3:
        for file in files:
            s3.put_object(Bucket=settings.names.of(BUCKET_ARCHIVE), Key=file.key, Body=file.body)
    return [file.key for file in files]


def replay(
    settings: CoreSettings,
    processor: Processor,
    span: Span,
    folder: Path,
    progress: Callable[[int, int, Report], None] = lambda *_: None,
) -> Report:
    """One run of a replay, until everything is in the queue."""
    with closing(blocking_client("sqs", settings)) as sqs, closing(blocking_client("s3", settings)) as s3:
        queue = ReplayQueue(sqs, settings.names, processor.name, Pace(FAST), lambda _: None)
        bucket = ArchiveBucket(s3, settings.names)
        return Replay(bucket, ReplayLog(folder, span), processor.takes, queue.send).run(span, progress)


async def count_waiting(settings: CoreSettings, worker: Engine, processor: Processor) -> None:
    """Count everything that waits in the processor's queue."""
    queue = await SqsQueue.open(worker._clients["sqs"], settings.names.processor_queue(processor.name))
    while messages := await queue.receive(wait_seconds=0):
        outcome = await worker.group(processor).run(messages)
        assert not outcome.failed
        await queue.delete(messages)


@asynccontextmanager
async def counting(settings: CoreSettings, worker: Engine, processor: Processor) -> AsyncIterator[None]:
    """A worker that counts what comes into the queue until the block ends."""

    async def forever() -> None:
        while True:
            await count_waiting(settings, worker, processor)
            await asyncio.sleep(0.02)

    task = asyncio.create_task(forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
