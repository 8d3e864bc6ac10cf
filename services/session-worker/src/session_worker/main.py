"""Composition root of the session-worker: reads settings, builds clients, runs until SIGTERM."""

import asyncio
import logging
import os
import random
import signal
import sys
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import aiohttp

from kinstream import keys
from kinstream.aws import AwsClients
from kinstream.clock import now_ms
from kinstream.dynamodb_http import DynamoDbHttp
from kinstream.errors import RetryableError
from kinstream.exporting import exporting
from kinstream.generations import GenerationsReader
from kinstream.queues import SqsQueue
from kinstream.readiness import ReadyFile
from kinstream.resources import (
    BUCKET_ARCHIVE,
    DEAD_LETTER_SUFFIX,
    TABLE_COUNTERS,
    TABLE_LEDGER,
    TABLE_OUTBOX,
    TABLE_RECORDS,
    TABLE_REGISTRY,
)
from kinstream.settings import read_settings
from kinstream.startup import Check, buckets, queues, saying_why, tables, wait_for
from kinstream.telemetry import configure_logging
from session_worker.compaction.bucket import Bucket
from session_worker.compaction.compactor import CompactionSettings, Compactor
from session_worker.compaction.lease import Lease
from session_worker.engine.announcing import Announcer
from session_worker.engine.closing import Closer
from session_worker.engine.due_buckets import DueBuckets
from session_worker.engine.due_walk import DueWalk
from session_worker.engine.groups import CommitOptions, Committer, Group
from session_worker.engine.outbox import Outbox
from session_worker.engine.reducing import ReducingCommitter
from session_worker.engine.rollup import RollUp
from session_worker.engine.scores import Scores
from session_worker.engine.sinks import SinkWriter
from session_worker.engine.store import Store
from session_worker.engine.timelines import TimelineCommitter
from session_worker.engine.transaction import TableNames
from session_worker.engine.watchdog import watching
from session_worker.engine.worker import (
    AWAY,
    Consumer,
    GroupConsumer,
    RebuildConsumer,
    SinkConsumer,
    consume,
    every,
)
from session_worker.processor import Processor, Reducer, Sink, Stateful, Timeline, discover
from session_worker.processors.activity import Activity
from session_worker.processors.archive import Archive
from session_worker.settings import WorkerSettings

log = logging.getLogger(__name__)

_TIMEOUT_SECONDS = 8.0
_CONNECTIONS = 64


class Worker:
    """Builds consumers for processors out of one set of clients."""

    def __init__(
        self,
        settings: WorkerSettings,
        sqs: Any,
        dynamodb: Any,
        sns: Any,
        s3: Any,
        *,
        clock: Callable[[], int] = now_ms,
    ) -> None:
        names = settings.names
        self._settings = settings
        self._names = names
        self._sqs = sqs
        self._dynamodb = dynamodb
        self._sns = sns
        self._s3 = s3
        self._now_ms = clock
        self._tables = TableNames(*map(names.of, (TABLE_LEDGER, TABLE_COUNTERS, TABLE_RECORDS, TABLE_OUTBOX)))
        self._options = CommitOptions(
            hash_key=settings.ledger_hash_key.get_secret_value().encode()[:64],
            slot=random.randrange(keys.CONTENT_SLOTS),
            retention_ms=settings.ledger_retention_seconds * 1000,
            now_ms=clock,
        )
        self.outbox = Outbox(dynamodb, sns, names, self._tables.outbox, clock)
        self._generations = GenerationsReader(dynamodb, names.of(TABLE_REGISTRY), clock)
        self.scores = Scores(dynamodb, self._tables.counters, clock)
        self.roll_up = RollUp(
            dynamodb,
            self._tables.counters,
            self._options.slot,
            worker=uuid.uuid4().hex,
            interval_seconds=settings.roll_up_seconds,
            now_ms=clock,
        )

    def needs(self, processors: Sequence[Processor]) -> Mapping[str, Check]:
        """What these cannot work without. Topics are not of it: announcements wait in the outbox."""
        own = [self._names.processor_queue(processor.name) for processor in processors]
        written = {self._names.of(one.bucket) for one in processors if isinstance(one, Sink)}
        needs = {
            **queues(self._sqs, [queue + suffix for queue in own for suffix in ("", DEAD_LETTER_SUFFIX)]),
            **tables(self._dynamodb, [self._tables.outbox]),
            **buckets(self._s3, sorted(written)),
        }
        if _counts(processors):
            registry = self._names.of(TABLE_REGISTRY)
            counted_in = [self._tables.ledger, self._tables.counters, self._tables.records, registry]
            needs |= tables(self._dynamodb, counted_in)
        return needs

    async def consumers(self, processor: Processor) -> list[Consumer]:
        """As many consumers of the processor's queue as it wants at once."""
        queue = await SqsQueue.open(self._sqs, self._names.processor_queue(processor.name))
        if isinstance(processor, Sink):
            writer = SinkWriter(processor, self._s3, self._names.of(processor.bucket), queue)
            return [
                SinkConsumer(
                    processor.name,
                    queue,
                    writer,
                    max_messages=self._settings.archive_max_messages,
                    linger_seconds=self._settings.archive_linger_seconds,
                )
                for _ in range(processor.concurrency)
            ]
        group = Group(self.committer(processor), queue)
        return [self._counting(processor, queue, group) for _ in range(processor.concurrency)]

    def rebuilding(self, processor: Reducer) -> RebuildConsumer:
        """What counts for a generation that is being built."""

        async def is_rebuilt() -> bool:
            return (await self._generations.of(processor.name)).building is not None

        async def open_consumer() -> GroupConsumer:
            queue = await SqsQueue.open(self._sqs, self._names.rebuild_queue(processor.name))
            return self._counting(processor, queue, Group(self.committer(processor), queue), rebuild=True)

        return RebuildConsumer(processor.name, is_rebuilt, open_consumer)

    def _counting(
        self, processor: Processor, queue: SqsQueue, group: Group, *, rebuild: bool = False
    ) -> GroupConsumer:
        async def generation() -> int:
            served, building = await self._generations.of(processor.name)
            if rebuild and building is None:
                raise RetryableError(f"{processor.name} is not being rebuilt any more")
            return building if rebuild and building is not None else served

        return GroupConsumer(
            processor.name,
            queue,
            group,
            self.outbox,
            self.scores,
            trusted_deliveries=processor.resource().max_receive_count // 3,
            generation=generation if isinstance(processor, Reducer) and processor.rebuildable else None,
        )

    def closing(self, activity: Activity) -> DueWalk:
        """What closes the sessions that the processor's ledger holds."""
        closer = Closer(
            DueBuckets(self._dynamodb, self._tables.ledger),
            Announcer(self._sns, self._names),
            activity.lateness_ms,
            self._now_ms,
        )
        return DueWalk(self._dynamodb, self._names, activity.name, closer.close, self._now_ms)

    def compactor(self, settings: CompactionSettings) -> Compactor:
        """What merges the archive's small files."""
        bucket = Bucket(self._s3, self._names.of(BUCKET_ARCHIVE))
        lease = Lease(self._dynamodb, self._tables.outbox, uuid.uuid4().hex, self._now_ms)
        return Compactor(bucket, lease, settings, self._now_ms)

    def committer(self, processor: Processor) -> Committer[Any]:
        """What commits for a processor, with a memory of its own."""
        registry = self._names.of(TABLE_REGISTRY)
        store = Store(self._dynamodb, self._tables, registry, self._settings.cached_items)
        match processor:
            case Reducer():
                return ReducingCommitter(processor, store, self._options)
            case Timeline():
                return TimelineCommitter(processor, store, self._options)
        raise TypeError(f"{processor.name} is no kind of processor that the engine knows")


def chosen(processors: Sequence[Processor], names: str) -> list[Processor]:
    """Those named, or all, or all but those named with a minus; SystemExit names what there is none for."""
    known = {processor.name for processor in processors}
    asked = {name.strip() for name in names.split(",")}
    left_out = {name[1:] for name in asked if name.startswith("-")}
    if asked == {"all"}:
        wanted = known
    elif len(left_out) == len(asked):
        wanted = known - left_out
    else:
        wanted = asked
    if not wanted | left_out <= known:
        sys.exit(
            f"KINSTREAM_PROCESSORS is {names!r}; it may be all, or some of {', '.join(sorted(known))}, "
            "or each of some with a minus before it, for all the others"
        )
    return [processor for processor in processors if processor.name in wanted]


async def run(
    settings: WorkerSettings, compaction: CompactionSettings, processors: Sequence[Processor]
) -> None:
    """Until SIGTERM or SIGINT; then the groups under way are finished."""
    stop = asyncio.Event()
    ready = ReadyFile(settings.ready_file)
    ready.clear()
    connector = aiohttp.TCPConnector(limit=_CONNECTIONS)
    async with (
        AwsClients(settings, max_attempts=2, read_timeout_seconds=_TIMEOUT_SECONDS) as aws,
        aiohttp.ClientSession(connector=connector) as http,
    ):
        dynamodb = DynamoDbHttp.of(http, settings, _TIMEOUT_SECONDS)
        clients = {name: await aws.open(name) for name in ("sqs", "sns", "s3")}
        worker = Worker(settings, dynamodb=dynamodb, **clients)
        await wait_for(worker.needs(processors), settings.startup_wait_seconds)
        # Not before: who is told to end while waiting has nothing to finish.
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        consumers = [c for processor in processors for c in await worker.consumers(processor)]
        consumers += [worker.rebuilding(p) for p in processors if isinstance(p, Reducer) and p.rebuildable]
        ready.mark()
        log.info("consuming", extra={"processors": [processor.name for processor in processors]})
        try:
            async with watching(settings.max_blocked_seconds):
                await consume(consumers, _upkeep(worker, settings, compaction, processors, stop), stop)
        finally:
            ready.clear()
            await worker.scores.flush()
            with suppress(*AWAY):  # what is left is another worker's to add
                if _counts(processors):
                    await worker.roll_up.run()


def _counts(processors: Sequence[Processor]) -> bool:
    """Whether any of them leaves entries in the journal; the others' roles reach no counters."""
    return any(isinstance(processor, Stateful) for processor in processors)


def _upkeep(
    worker: Worker,
    settings: WorkerSettings,
    compaction: CompactionSettings,
    processors: Sequence[Processor],
    stop: asyncio.Event,
) -> list[Awaitable[None]]:
    """What is to be done now and then, for these processors; each may do only what its own role allows."""
    upkeep: list[Awaitable[None]] = [
        every(settings.score_flush_seconds, worker.scores.flush, stop),
        every(settings.outbox_sweep_seconds, worker.outbox.sweep, stop),
    ]
    if _counts(processors):
        upkeep += [
            every(settings.roll_up_seconds, worker.roll_up.run, stop),
            every(worker.roll_up.sweep_seconds, worker.roll_up.sweep, stop),
        ]
    for processor in processors:
        if isinstance(processor, Archive):
            compact = partial(worker.compactor(compaction).run, stop.is_set)
            upkeep.append(every(compaction.interval_seconds, compact, stop))
        if isinstance(processor, Activity):
            sweep = partial(worker.closing(processor).sweep, stop.is_set)
            upkeep.append(every(settings.closing_sweep_seconds, sweep, stop))
    return upkeep


def main() -> None:
    """Entry point of the container."""
    settings = read_settings(WorkerSettings, "session-worker", "ledger_hash_key")
    compaction = read_settings(CompactionSettings, "session-worker")
    processors = chosen(discover(), settings.processors)
    configure_logging("session-worker", settings.log_level)
    with saying_why("session-worker"), exporting("session-worker", settings):
        asyncio.run(run(settings, compaction, processors))
    log.info("stopped", extra={"pid": os.getpid()})


if __name__ == "__main__":
    main()
