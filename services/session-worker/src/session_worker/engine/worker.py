"""Consumes the queues: one set of consumers a processor, all in one event loop.

A processor that must not share a process with others runs as a service of its own (`KINSTREAM_PROCESSORS`).
"""

import asyncio
import contextlib
import logging
import random
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.errors import RetryableError
from kinstream.queues import MAX_BATCH, Message, SqsQueue, retry_delay_seconds
from kinstream.tracing import TRACEPARENT, all_continued
from session_worker.engine.groups import Group
from session_worker.engine.measures import Measures
from session_worker.engine.outbox import Outbox
from session_worker.engine.scores import Scores
from session_worker.engine.sinks import SinkWriter

log = logging.getLogger(__name__)

RECEIVE_WAIT_SECONDS = 3
PAUSE_AFTER_FAILURE_SECONDS = 5.0
TRUSTED_DELIVERIES = 4
"""A third of what a queue gives a message, unless its processor says otherwise."""
_PAUSE_AFTER_ERROR_SECONDS = 1.0
_LOOK_FOR_REBUILD_SECONDS = 2.0
AWAY = (BotoCoreError, ClientError, OSError, RetryableError)


class Consumer(ABC):
    """Receives until it is told to stop, then finishes what it holds."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. An AWS that is away is waited for; nothing else ends it."""
        while not stop.is_set():
            try:
                await self.step(stop)
            except AWAY as error:
                log.warning("AWS is away", extra={"processor": self.name, "error": type(error).__name__})
                await _pause(stop, _PAUSE_AFTER_ERROR_SECONDS)

    @abstractmethod
    async def step(self, stop: asyncio.Event) -> None:
        """Receive, process, delete."""


class GroupConsumer(Consumer):
    """Counts groups of a stateful processor."""

    def __init__(
        self,
        name: str,
        queue: SqsQueue,
        group: Group,
        outbox: Outbox,
        scores: Scores,
        *,
        trusted_deliveries: int = TRUSTED_DELIVERIES,
        generation: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        super().__init__(name)
        self._queue = queue
        self._generation = generation
        self._trusted_deliveries = trusted_deliveries
        self._group = group
        self._outbox = outbox
        self._scores = scores
        self._measures = Measures(name)

    async def step(self, stop: asyncio.Event) -> None:
        messages = await self._queue.receive(RECEIVE_WAIT_SECONDS)
        if messages and not await self._try(messages):
            # Nothing goes through: taking more would only wear out the messages' deliveries.
            await _pause(stop, PAUSE_AFTER_FAILURE_SECONDS)

    async def _try(self, messages: Sequence[Message]) -> bool:
        """Whether any of them is done with."""
        try:
            # Asked after they came: what came before a change of generations is in the rebuild's queue, too.
            generation = await self._generation() if self._generation else 0
        except AWAY as error:
            log.warning("no generation", extra={"processor": self.name, "error": type(error).__name__})
            await self._give_back(messages)
            return False
        groups = suspects_apart(messages, self._trusted_deliveries)
        return any([await self._count(together, generation) for together in groups])

    async def _count(self, messages: Sequence[Message], generation: int) -> bool:
        """Whether any of them is done with."""
        started = time.monotonic()
        with _traced(self.name, messages):
            outcome = await self._group.run(messages, generation)
            self._measures.add(outcome, time.monotonic() - started)
            self._scores.add(outcome.scores)
            await self._outbox.send(outcome.announcements)
            done = [message for message in messages if message.id not in outcome.failed]
            if done:
                await self._queue.delete(done)
            await self._give_back([message for message in messages if message.id in outcome.failed])
        return bool(done)

    async def _give_back(self, messages: Sequence[Message]) -> None:
        for message in messages:
            await self._queue.give_back([message], retry_delay_seconds(message.receive_count))


def suspects_apart(messages: Sequence[Message], trusted_deliveries: int) -> list[list[Message]]:
    """What to count together: all but those that came back so often that one may be what ends workers.

    Each of these is alone, in an order that is another one every time, so that it takes no neighbour along
    to the dead-letter queue.
    """
    trusted = [message for message in messages if message.receive_count <= trusted_deliveries]
    suspects = [[message] for message in messages if message.receive_count > trusted_deliveries]
    random.shuffle(suspects)
    return [trusted, *suspects] if trusted else suspects


class RebuildConsumer(Consumer):
    """Counts what comes into the queue of a processor's rebuild, whenever there is one."""

    def __init__(
        self,
        name: str,
        is_rebuilt: Callable[[], Awaitable[bool]],
        open_consumer: Callable[[], Awaitable[GroupConsumer]],
    ) -> None:
        super().__init__(name)
        self._is_rebuilt = is_rebuilt
        self._open_consumer = open_consumer
        self._consumer: GroupConsumer | None = None

    async def step(self, stop: asyncio.Event) -> None:
        if not await self._is_rebuilt():
            self._consumer = None
            await _pause(stop, _LOOK_FOR_REBUILD_SECONDS)
            return
        if self._consumer is None:
            self._consumer = await self._open_consumer()
        await self._consumer.step(stop)


class SinkConsumer(Consumer):
    """Gathers messages for a sink until they are many or the first has waited long enough."""

    def __init__(
        self, name: str, queue: SqsQueue, writer: SinkWriter, *, max_messages: int, linger_seconds: float
    ) -> None:
        super().__init__(name)
        self._queue = queue
        self._writer = writer
        self._max_messages = max_messages
        self._linger_seconds = linger_seconds

    async def step(self, stop: asyncio.Event) -> None:
        messages: list[Message] = []
        deadline = None
        while not stop.is_set() and len(messages) < self._max_messages:
            left = self._linger_seconds if deadline is None else deadline - time.monotonic()
            if left <= 0:
                break
            wait_seconds = RECEIVE_WAIT_SECONDS if deadline is None else min(RECEIVE_WAIT_SECONDS, int(left))
            received = await self._queue.receive(wait_seconds, MAX_BATCH)
            messages += received
            if received and deadline is None:
                deadline = time.monotonic() + self._linger_seconds
            elif not received and deadline is None:
                return
            elif not received and wait_seconds == 0:
                await asyncio.sleep(0.1)
        if messages:
            with _traced(self.name, messages):
                await self._writer.write(messages)
                await self._queue.delete(messages)


def _traced(processor: str, messages: Sequence[Message]) -> AbstractContextManager[None]:
    traceparents = [message.attributes.get(TRACEPARENT, "") for message in messages]
    return all_continued(f"process {processor}", traceparents, messages=len(messages))


async def every(seconds: float, action: Callable[[], Awaitable[object]], stop: asyncio.Event) -> None:
    """Run an action again and again until `stop`; AWS being away is no reason to end."""
    while not stop.is_set():
        await _pause(stop, seconds)
        try:
            await action()
        except AWAY as error:
            log.warning("AWS is away", extra={"error": type(error).__name__})


async def consume(
    consumers: Sequence[Consumer], others: Sequence[Awaitable[None]], stop: asyncio.Event
) -> None:
    """Run all of it until `stop`. An error that nobody expected ends the whole: better than half."""
    async with asyncio.TaskGroup() as tasks:
        for consumer in consumers:
            tasks.create_task(consumer.run(stop))
        for other in others:
            tasks.create_task(_await(other))


async def _await(other: Awaitable[None]) -> None:
    await other


async def _pause(stop: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
