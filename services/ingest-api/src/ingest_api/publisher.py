"""Coalesces the events of concurrent requests into chunks and few calls to SNS.

A request's `publish` returns only when SNS has confirmed every chunk with an event of it: nothing is
acknowledged from memory. A message that SNS refuses fails the requests in it and no others.
"""

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field
from typing import cast

import msgspec
from opentelemetry.trace import SpanKind

from ingest_api.errors import unavailable
from ingest_api.metrics import Metrics
from ingest_api.sns import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, SnsMessage
from kinstream.chunks import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS, Part, assemble_chunk
from kinstream.tracing import carried, part

log = logging.getLogger(__name__)

_SHARE = 0.5
"""Of the backlog that one app may hold."""

Send = Callable[[Sequence[SnsMessage]], Awaitable[set[int]]]
"""Sends a batch and gives the positions that were not taken, or raises RetryableError."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is kept in memory, for how long, and how many calls are under way at once."""

    backlog_events: int = 50_000
    backlog_bytes: int = 64 * 1024 * 1024
    linger_seconds: float = 0.003
    in_flight: int = 4


@dataclass(slots=True, eq=False)
class _Request:
    """Waits for `chunks` confirmations; True only if none of them failed."""

    done: asyncio.Future[bool]
    traceparent: str
    chunks: int = 0

    def settle(self, confirmed: bool) -> None:
        self.chunks -= 1
        if not self.done.done() and (self.chunks == 0 or not confirmed):
            self.done.set_result(confirmed)


@dataclass(slots=True, eq=False)
class _Chunk:
    app: str
    parts: list[Part] = field(default_factory=list)
    count: int = 0
    size_bytes: int = 0
    types: set[str] = field(default_factory=set)
    requests: list[_Request] = field(default_factory=list)
    traceparent: str = ""
    """Of the first traced request in it: a message goes on with one trace."""

    def has_room(self, part: Part) -> bool:
        return (
            self.count + part.count <= MAX_CHUNK_EVENTS
            and self.size_bytes + len(part.events) <= MAX_CHUNK_BYTES
        )

    def add(self, part: Part, types: set[str], request: _Request) -> None:
        self.parts.append(part)
        self.count += part.count
        self.size_bytes += len(part.events)
        # A chunk may name a type too many, never one too few: its processors skip what is not theirs.
        self.types |= types
        self.requests.append(request)
        self.traceparent = self.traceparent or request.traceparent
        request.chunks += 1

    def message(self) -> SnsMessage:
        types = msgspec.json.encode(sorted(self.types))
        return SnsMessage(assemble_chunk(self.app, self.parts), types, self.traceparent)


_Sealed = tuple[_Chunk, SnsMessage]


class Publisher:
    """Takes events of requests, sends chunks. All of it on one event loop.

    Apps take turns, and none may hold more than its share of the backlog: one that sends too much waits
    for itself, not the others for it.
    """

    def __init__(self, send: Send, bounds: Bounds, metrics: Metrics) -> None:
        self._send = send
        self._bounds = bounds
        self._metrics = metrics
        self._open: dict[str, _Chunk] = {}
        self._ready: dict[str, deque[_Sealed]] = {}
        self._ready_count = 0
        self._held: Counter[str] = Counter()
        self._held_bytes: Counter[str] = Counter()
        self._is_away = False
        self._last_success = 0.0
        self._events = 0
        self._bytes = 0
        self._due = False
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    @property
    def events_waiting(self) -> int:
        """Events that SNS has not confirmed yet."""
        return self._events

    @property
    def bytes_waiting(self) -> int:
        """Their bytes."""
        return self._bytes

    def require_room(self, app: str) -> None:
        """Raise 503 while the backlog is over its bound, or the app holds more than its share of it.

        And while SNS is away and all calls are under way: those find out whether it is back, and nobody
        waits for them but those whose events are in them.
        """
        bounds = self._bounds
        if (
            self._events >= bounds.backlog_events
            or self._bytes >= bounds.backlog_bytes
            or self._held[app] >= bounds.backlog_events * _SHARE
            or self._held_bytes[app] >= bounds.backlog_bytes * _SHARE
        ):
            raise unavailable("more events wait here than may; send these again", code="overloaded")
        if self._is_away and len(self._sending) >= bounds.in_flight:
            raise unavailable("events cannot be stored now; send these again")

    async def publish(self, app: str, parts: Sequence[Part], types: set[str]) -> None:
        """Return once all the events are confirmed; 503 where they are not, and sending again is safe."""
        self.require_room(app)
        with part("publish events", SpanKind.PRODUCER):
            request = _Request(asyncio.get_running_loop().create_future(), carried())
            for piece in parts:
                self._take(app, piece, types, request)
            self._soon()
            if not await request.done:
                raise unavailable("the events could not be stored now; send them again")

    async def close(self) -> None:
        """Send what is left and wait until it is confirmed or has failed."""
        while self._open or self._ready or self._sending:
            self._due = True
            self._pump()
            await asyncio.wait(self._sending)
        if self._timer:
            self._timer.cancel()

    def _take(self, app: str, part: Part, types: set[str], request: _Request) -> None:
        chunk = self._open.get(app)
        if chunk is not None and not chunk.has_room(part):
            self._close(chunk)
            chunk = None
        if chunk is None:
            chunk = self._open[app] = _Chunk(app)
        chunk.add(part, types, request)
        self._held[app] += part.count
        self._held_bytes[app] += len(part.events)
        self._events += part.count
        self._bytes += len(part.events)

    def _close(self, chunk: _Chunk) -> None:
        del self._open[chunk.app]
        self._ready.setdefault(chunk.app, deque()).append((chunk, chunk.message()))
        self._ready_count += 1

    def _soon(self) -> None:
        if self._ready_count >= MAX_BATCH_MESSAGES:
            self._pump()
        if self._timer is None and not self._due and (self._open or self._ready):
            loop = asyncio.get_running_loop()
            # In no request's context, here and below: what is sent is of many.
            self._timer = loop.call_later(self._bounds.linger_seconds, self._on_linger, context=Context())

    def _on_linger(self) -> None:
        self._timer = None
        self._due = True
        self._pump()

    def _pump(self) -> None:
        """Start as many calls as may be under way. While none may start, open chunks go on filling."""
        while len(self._sending) < self._bounds.in_flight:
            if self._due:
                for chunk in list(self._open.values()):
                    self._close(chunk)
            if not self._ready:
                self._due = False
                return
            if self._ready_count < MAX_BATCH_MESSAGES and not self._due:
                return
            task = asyncio.create_task(self._deliver(self._next_batch()), context=Context())
            self._sending.add(task)
            task.add_done_callback(self._on_delivered, context=Context())

    def _next_batch(self) -> list[_Sealed]:
        """The next chunk of each app in turn, as many as a call may hold."""
        batch: list[_Sealed] = []
        room = MAX_BATCH_BYTES
        while self._ready and len(batch) < MAX_BATCH_MESSAGES:
            app, waiting = next(iter(self._ready.items()))
            room -= waiting[0][1].size_bytes
            if batch and room < 0:
                break
            batch.append(waiting.popleft())
            # To the end of the line, if it has more.
            del self._ready[app]
            if waiting:
                self._ready[app] = waiting
        self._ready_count -= len(batch)
        return batch

    async def _deliver(self, batch: list[_Sealed]) -> None:
        started = time.perf_counter()
        failed = set(range(len(batch)))
        try:
            failed = await self._send([message for _, message in batch])
            self._last_success = time.perf_counter()
            self._is_away = False
        except Exception as error:  # noqa: BLE001 - whatever it is, the events are not confirmed
            reason = str(error) or type(error).__name__
            log.warning("events not published", extra={"reason": reason, "messages": len(batch)})
            # A call that fails while others succeed says nothing of SNS.
            if self._last_success < started:
                self._is_away = True
                self._give_up_waiting()
        finally:
            self._metrics.publish_seconds.observe(time.perf_counter() - started)
            self._metrics.publish_failures.inc(len(failed))
            # Over before anybody is told: who sends again at once must not find it under way.
            self._sending.discard(cast(asyncio.Task[None], asyncio.current_task()))
            for position, (chunk, _) in enumerate(batch):
                self._settle(chunk, position not in failed)

    def _give_up_waiting(self) -> None:
        """Tell whoever waits for a call that has not begun: each would take as long to fail as this one."""
        for chunk in list(self._open.values()):
            self._close(chunk)
        while self._ready:
            for chunk, _ in self._next_batch():
                self._settle(chunk, confirmed=False)

    def _settle(self, chunk: _Chunk, confirmed: bool) -> None:
        self._held[chunk.app] -= chunk.count
        self._held_bytes[chunk.app] -= chunk.size_bytes
        if not self._held[chunk.app]:
            del self._held[chunk.app], self._held_bytes[chunk.app]
        self._events -= chunk.count
        self._bytes -= chunk.size_bytes
        for request in chunk.requests:
            request.settle(confirmed)

    def _on_delivered(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()  # its requests have been told already
        self._pump()
