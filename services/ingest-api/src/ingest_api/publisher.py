"""Coalesces the events of concurrent requests into chunks and few calls to SNS.

A request's `publish` returns only when SNS has confirmed every chunk with an event of it: nothing is
acknowledged from memory. A message that SNS refuses fails the requests in it and no others.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import msgspec

from ingest_api.errors import unavailable
from ingest_api.metrics import Metrics
from ingest_api.sns import MAX_BATCH_BYTES, MAX_BATCH_MESSAGES, SnsMessage
from kinstream.chunks import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS, assemble_chunk
from kinstream.errors import RetryableError

log = logging.getLogger(__name__)

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
    chunks: int = 0

    def settle(self, confirmed: bool) -> None:
        self.chunks -= 1
        if not self.done.done() and (self.chunks == 0 or not confirmed):
            self.done.set_result(confirmed)


@dataclass(slots=True, eq=False)
class _Chunk:
    app: str
    pieces: list[bytes] = field(default_factory=list)
    size_bytes: int = 0
    types: set[str] = field(default_factory=set)
    requests: list[_Request] = field(default_factory=list)

    def has_room(self, pieces: int, size_bytes: int) -> bool:
        return (
            len(self.pieces) + pieces <= MAX_CHUNK_EVENTS and self.size_bytes + size_bytes <= MAX_CHUNK_BYTES
        )

    def add(self, pieces: list[bytes], size_bytes: int, types: set[str], request: _Request) -> None:
        self.pieces += pieces
        self.size_bytes += size_bytes
        self.types |= types
        self.requests.append(request)
        request.chunks += 1

    def message(self) -> SnsMessage:
        return SnsMessage(assemble_chunk(self.app, self.pieces), msgspec.json.encode(sorted(self.types)))


class Publisher:
    """Takes events of requests, sends chunks. All of it on one event loop."""

    def __init__(self, send: Send, bounds: Bounds, metrics: Metrics) -> None:
        self._send = send
        self._bounds = bounds
        self._metrics = metrics
        self._open: dict[str, _Chunk] = {}
        self._ready: deque[tuple[_Chunk, SnsMessage]] = deque()
        self._events = 0
        self._bytes = 0
        self._due = False
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()

    def require_room(self) -> None:
        """Raise 503 while the backlog is over its bound."""
        if self._events >= self._bounds.backlog_events or self._bytes >= self._bounds.backlog_bytes:
            raise unavailable("more events wait here than may; send these again", code="overloaded")

    async def publish(self, app: str, pieces: list[bytes], types: set[str]) -> None:
        """Return once all the events are confirmed; 503 where they are not, and sending again is safe."""
        self.require_room()
        request = _Request(asyncio.get_running_loop().create_future())
        self._take(app, pieces, types, request)
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

    def _take(self, app: str, pieces: list[bytes], types: set[str], request: _Request) -> None:
        size_bytes = sum(map(len, pieces)) + len(pieces)
        self._events += len(pieces)
        self._bytes += size_bytes
        if len(pieces) <= MAX_CHUNK_EVENTS and size_bytes <= MAX_CHUNK_BYTES:
            self._chunk_for(app, len(pieces), size_bytes).add(pieces, size_bytes, types, request)
            return
        for piece in pieces:
            size_bytes = len(piece) + 1
            chunk = self._chunk_for(app, 1, size_bytes)
            if chunk.requests and chunk.requests[-1] is request:
                chunk.pieces.append(piece)
                chunk.size_bytes += size_bytes
            else:
                # A chunk may name a type too many, never one too few: its processors skip what is not theirs.
                chunk.add([piece], size_bytes, types, request)

    def _chunk_for(self, app: str, pieces: int, size_bytes: int) -> _Chunk:
        chunk = self._open.get(app)
        if chunk is not None and chunk.has_room(pieces, size_bytes):
            return chunk
        if chunk is not None:
            self._close(chunk)
        chunk = self._open[app] = _Chunk(app)
        return chunk

    def _close(self, chunk: _Chunk) -> None:
        del self._open[chunk.app]
        self._ready.append((chunk, chunk.message()))

    def _soon(self) -> None:
        if len(self._ready) >= MAX_BATCH_MESSAGES:
            self._pump()
        if self._timer is None and not self._due and (self._open or self._ready):
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._bounds.linger_seconds, self._on_linger)

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
            if len(self._ready) < MAX_BATCH_MESSAGES and not self._due:
                return
            task = asyncio.create_task(self._deliver(self._next_batch()))
            self._sending.add(task)
            task.add_done_callback(self._on_delivered)

    def _next_batch(self) -> list[tuple[_Chunk, SnsMessage]]:
        batch = [self._ready.popleft()]
        size_bytes = batch[0][1].size_bytes
        while self._ready and len(batch) < MAX_BATCH_MESSAGES:
            size_bytes += self._ready[0][1].size_bytes
            if size_bytes > MAX_BATCH_BYTES:
                break
            batch.append(self._ready.popleft())
        return batch

    async def _deliver(self, batch: list[tuple[_Chunk, SnsMessage]]) -> None:
        started = time.perf_counter()
        failed = set(range(len(batch)))
        try:
            failed = await self._send([message for _, message in batch])
        except RetryableError as error:
            log.warning("events not published", extra={"reason": str(error), "messages": len(batch)})
        finally:
            self._metrics.publish_seconds.observe(time.perf_counter() - started)
            self._metrics.publish_failures.inc(len(failed))
            for position, (chunk, _) in enumerate(batch):
                self._settle(chunk, position not in failed)

    def _settle(self, chunk: _Chunk, confirmed: bool) -> None:
        self._events -= len(chunk.pieces)
        self._bytes -= chunk.size_bytes
        self._metrics.backlog_events.set(self._events)
        for request in chunk.requests:
            request.settle(confirmed)

    def _on_delivered(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled():
            task.exception()  # its requests have been told already
        self._pump()
