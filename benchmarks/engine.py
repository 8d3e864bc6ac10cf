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

EVENTS_A_SECOND = 1_000
"""At which what a worker does every few seconds is measured."""

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
        self._flush_events = round(EVENTS_A_SECOND * configured.score_flush_seconds)
        self._roll_up_events = round(EVENTS_A_SECOND * configured.roll_up_seconds)
        self._groups: dict[str, Group] = {}
        self.flush_seconds = 0.0
        """CPU time of writing trending, which lies outside of any commit."""
        self.roll_up_seconds = 0.0
        """CPU time of adding the journal to counters, so too."""

    async def run(
        self,
        processor: str,
        groups: Sequence[Sequence[Message]],
        group_events: int = 0,
        *,
        rolls_up_once: bool = False,
    ) -> tuple[int, int]:
        """(events counted, messages failed) of all groups.

        Where each has about `group_events`, trending is written and the journal added as often as at
        `EVENTS_A_SECOND`, and at the end; `rolls_up_once`: the journal at the end alone.
        """
        group = self._groups.get(processor)
        if group is None:
            committer = self._worker.committer(self._processors[processor])
            group = self._groups[processor] = Group(committer, _NoQueue())  # type: ignore[arg-type]
        counted = failed = 0
        for number, messages in enumerate(groups, 1):
            outcome = await group.run(messages)
            counted += outcome.counted
            failed += len(outcome.failed)
            self._worker.scores.add(outcome.scores)
            if _is_time(number * group_events, group_events, self._flush_events):
                await self._flush()
            if not rolls_up_once and _is_time(number * group_events, group_events, self._roll_up_events):
                await self._roll_up()
        if group_events:
            await self._flush()
            await self._roll_up()
        return counted, failed

    async def _flush(self) -> None:
        began = time.process_time()
        await self._worker.scores.flush()
        self.flush_seconds += time.process_time() - began

    async def _roll_up(self) -> None:
        began = time.process_time()
        await self._worker.roll_up.run()
        self.roll_up_seconds += time.process_time() - began


def _is_time(events: int, group_events: int, every: int) -> bool:
    """Whether the last group made it another `every` events."""
    return group_events > 0 and events // every > (events - group_events) // every


@asynccontextmanager
async def over_http(url: str, prefix: str) -> AsyncIterator[Engine]:
    """An engine with the client that production gives it, before a stub of DynamoDB at `url`."""
    configured = settings(prefix, url)
    async with aiohttp.ClientSession() as http:
        yield Engine(DynamoDbHttp.of(http, configured, 10), configured)


class _NoQueue:
    async def put_aside(self, body: str, reason: str) -> None:
        raise AssertionError(f"an event of the workload was put aside: {reason}")
