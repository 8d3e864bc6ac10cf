"""An open loop of requests at a fixed pace, over plain connections.

Each request has its due time, and its delay counts from there: one that has to wait for a connection, or
to be sent again, has waited all that time. So a server that stalls cannot hide it by slowing the load.
"""

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import cast

from benchmarks.schedule import Schedule

_TICK_SECONDS = 0.001
_SWEEP_SECONDS = 0.25
_RECONNECT_SECONDS = 0.1
_TRIES_PAUSE_SECONDS = 1.0
_JITTER_SECONDS = 0.5
_TRANSIENT = (408, 429, 500, 502, 503, 504)


@dataclass(slots=True)
class Job:
    """One request, however often it is sent."""

    number: int
    due: float
    sent: float = 0.0


@dataclass(slots=True)
class Second:
    """What happened within a second of the load."""

    sent: int = 0
    taken: int = 0
    refused: int = 0
    refused_with_retry_after: int = 0
    given_up: int = 0


@dataclass(frozen=True, slots=True)
class Manner:
    """How the clients behave."""

    connections: int = 256
    again: bool = False
    """Send again what was refused for now, after the answer's Retry-After."""
    patience_seconds: float = 30.0
    """A request without an answer for so long is given up, and sent again where `again` says so."""
    drain_seconds: float = 60.0
    """How long after the last due time to wait for what is still under way."""


@dataclass
class OpenLoop:
    """The load. `seconds` and `delays` fill while `run` runs."""

    port: int
    schedule: Schedule
    request: Callable[[int], bytes]
    manner: Manner
    seconds: list[Second] = field(default_factory=list)
    delays: dict[int, float] = field(default_factory=dict)
    """By number of the request, from its due time to its success, in seconds."""
    failed: int = 0
    late_seconds: float = 0.0
    """How late the load itself was at worst: delays below this say nothing."""
    longest_answer_seconds: float = 0.0
    """Of a single try, from its sending to its answer or to where it was given up."""
    last_trouble: float = 0.0
    """When an answer was last not a success, in seconds since the start."""

    def __post_init__(self) -> None:
        self.began = time.perf_counter()
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._opening = 0
        self._waiting: deque[Job] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    async def run(self) -> None:
        """Send all, and return when each request has ended or the time to drain is over."""
        self.began = time.perf_counter()
        sweep = asyncio.create_task(self._sweep())
        await self._send_all()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.manner.drain_seconds):
                await self._over.wait()
        sweep.cancel()
        for connection in (*self._idle, *self._busy):
            connection.abort()

    @property
    def unfinished(self) -> int:
        """Requests, of all of the schedule, that have neither succeeded nor failed for good."""
        return self.schedule.count - len(self.delays) - self.failed

    def now(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self.began

    def ready(self, connection: "_Connection", *, new: bool = False) -> None:
        """A connection can take a request."""
        self._opening -= new
        self._busy.discard(connection)
        self._idle.append(connection)
        self._feed()

    def answered(self, job: Job, status: int, retry_after: float | None) -> None:
        """A whole answer is here."""
        now = self.now()
        self.longest_answer_seconds = max(self.longest_answer_seconds, now - job.sent)
        second = self._second(now)
        if status in (200, 202):
            second.taken += 1
            self.delays[job.number] = now - job.due
            self._ended()
            return
        second.refused += 1
        second.refused_with_retry_after += retry_after is not None
        self.last_trouble = now
        if self.manner.again and status in _TRANSIENT:
            pause = _TRIES_PAUSE_SECONDS if retry_after is None else retry_after
            asyncio.get_running_loop().call_later(
                pause + random.uniform(0, _JITTER_SECONDS), self._enqueue, job
            )
        else:
            self.failed += 1
            self._ended()

    def lost(self, connection: "_Connection", job: Job | None) -> None:
        """A connection is gone. A request that it carried is safe to send again, as each event has its id."""
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if job:
            self._enqueue(job)

    async def _send_all(self) -> None:
        number = 0
        while number < self.schedule.count:
            now = self.now()
            due = self.schedule.due_by(now)
            if due > number:
                self.late_seconds = max(self.late_seconds, now - self.schedule.due_seconds(number))
            self._waiting.extend(Job(each, self.schedule.due_seconds(each)) for each in range(number, due))
            number = due
            self._feed()
            await asyncio.sleep(max(_TICK_SECONDS, self.schedule.due_seconds(number) - self.now()))

    def _enqueue(self, job: Job) -> None:
        self._waiting.append(job)
        self._feed()

    def _feed(self) -> None:
        while self._waiting and self._idle:
            connection, job = self._idle.pop(), self._waiting.popleft()
            self._busy.add(connection)
            job.sent = self.now()
            self._second(job.sent).sent += 1
            connection.send(job, self.request(job.number))
        room = self.manner.connections - len(self._busy) - len(self._idle) - self._opening
        for _ in range(min(room, len(self._waiting) - self._opening)):
            self._opening += 1
            task = asyncio.create_task(self._open())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _open(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self), "127.0.0.1", self.port
            )
        except OSError:
            await asyncio.sleep(_RECONNECT_SECONDS)
            self._opening -= 1
            self._feed()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            now = self.now()
            for connection in list(self._busy):
                if connection.job and now - connection.job.sent > self.manner.patience_seconds:
                    self._give_up(connection, now)

    def _give_up(self, connection: "_Connection", now: float) -> None:
        assert connection.job
        self._second(now).given_up += 1
        self.longest_answer_seconds = max(self.longest_answer_seconds, now - connection.job.sent)
        self.last_trouble = now
        if not self.manner.again:
            connection.job = None
            self.failed += 1
            self._ended()
        connection.abort()

    def _ended(self) -> None:
        if not self.unfinished:
            self._over.set()

    def _second(self, now: float) -> Second:
        while len(self.seconds) <= int(now):
            self.seconds.append(Second())
        return self.seconds[int(now)]


class _Connection(asyncio.Protocol):
    """Carries one request at a time. Raw, because a general HTTP client would cost more than the server."""

    def __init__(self, loop: OpenLoop) -> None:
        self._loop = loop
        self._received = b""
        self.job: Job | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._loop.ready(self, new=True)

    def send(self, job: Job, request: bytes) -> None:
        self.job = job
        self._transport.write(request)

    def abort(self) -> None:
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found or self.job is None:
            return
        lower = head.lower()
        if len(rest) < int(_header(lower, b"content-length") or 0):
            return
        self._received = b""
        job, self.job = self.job, None
        retry_after = _header(lower, b"retry-after")
        self._loop.answered(job, int(head[9:12]), float(retry_after) if retry_after else None)
        if _header(lower, b"connection") == b"close":
            self._transport.close()
        else:
            self._loop.ready(self)

    def connection_lost(self, error: Exception | None) -> None:
        job, self.job = self.job, None
        self._loop.lost(self, job)


def _header(lower_head: bytes, name: bytes) -> bytes:
    return lower_head.partition(b"\r\n" + name + b":")[2].partition(b"\r\n")[0].strip()
