"""The session-worker's engine, driven group by group with whatever client it is given."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiohttp

from kinstream.dynamodb_http import DynamoDbHttp
from kinstream.queues import Message
from session_worker.engine.groups import Group
from session_worker.main import Worker
from session_worker.processor import discover
from session_worker.settings import WorkerSettings

HASH_KEY = "benchmarks-only-0123456789abcdef"


def settings(prefix: str = "bench", endpoint_url: str | None = None) -> WorkerSettings:
    """A worker's settings; the retention covers the workload's dates."""
    return WorkerSettings(
        name_prefix=prefix,
        ledger_hash_key=HASH_KEY,
        aws_endpoint_url=endpoint_url,
    )


class Engine:
    """One worker, processors by name."""

    def __init__(self, client: Any, configured: WorkerSettings) -> None:
        self._worker = Worker(configured, None, client, None, None)
        self._processors = {processor.name: processor for processor in discover()}
        self._scores = self._worker.scores
        self._groups: dict[str, Group] = {}
        self.flush_seconds = 0.0
        """CPU time of writing trending, which lies outside of any commit."""

    async def run(
        self, processor: str, groups: Sequence[Sequence[Message]], flush_groups: int = 0
    ) -> tuple[int, int]:
        """(events counted, messages failed) of all groups; scores flushed after so many, and at the end."""
        group = self._groups.get(processor)
        if group is None:
            committer = self._worker.committer(self._processors[processor])
            group = self._groups[processor] = Group(committer, _NoQueue())  # type: ignore[arg-type]
        counted = failed = 0
        for number, messages in enumerate(groups, 1):
            outcome = await group.run(messages)
            counted += outcome.counted
            failed += len(outcome.failed)
            self._scores.add(outcome.scores)
            if flush_groups and number % flush_groups == 0:
                await self._flush()
        if flush_groups:
            await self._flush()
        return counted, failed

    async def _flush(self) -> None:
        began = time.process_time()
        await self._scores.flush()
        self.flush_seconds += time.process_time() - began


@asynccontextmanager
async def over_http(url: str, prefix: str) -> AsyncIterator[Engine]:
    """An engine with the client that production gives it, before a stub of DynamoDB at `url`."""
    configured = settings(prefix, url)
    async with aiohttp.ClientSession() as http:
        yield Engine(DynamoDbHttp.of(http, configured, 10), configured)


class _NoQueue:
    async def put_aside(self, body: str, reason: str) -> None:
        raise AssertionError(f"an event of the workload was put aside: {reason}")
