"""What happens to customers' things, from Redis to everybody who listens to this process.

One connection to Redis a process, held while anybody listens. It is subscribed to the channel of each
customer that somebody listens to, and what comes is handed to all of that customer's listeners.

Guarantee: from the moment `listen` returns, a listener gets all that is told of its customer, in order, or is
told that it ends: because it reads too slowly, because Redis went away, or because this process stops.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal

import msgspec
from redis.exceptions import RedisError

from ingest_api.errors import ApiError, unavailable
from kinstream import live

log = logging.getLogger(__name__)

Ending = Literal["too_slow", "unavailable", "stopping"]

_AWAY = (RedisError, OSError, TimeoutError)
_RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class StreamBounds:
    """What listening may cost this process."""

    waiting_events: int = 100
    """Of one listener, told and not yet sent: beyond it the listener ends."""
    listeners_of_customer: int = 20
    listeners: int = 2_000
    answer_seconds: float = 2.0
    """How long whoever begins to listen waits for Redis."""
    quiet_seconds: float = 10.0
    """Redis is asked for a sign of life after so long, and taken for gone after as long again."""


class Listener:
    """One open screen. Read by one task."""

    def __init__(self, channel: str, waiting_events: int) -> None:
        self.channel = channel
        self.ending: Ending | None = None
        """Why there will be no more, once there will be none."""
        self._waiting: deque[bytes] = deque()
        self._most = waiting_events
        self._changed = asyncio.Event()

    def tell(self, frame: bytes) -> None:
        """Another event, unless the listener is already behind."""
        if self.ending is None and len(self._waiting) >= self._most:
            # What it has not read is of no use without what it would miss next.
            self._waiting.clear()
            self.end("too_slow")
        elif self.ending is None:
            self._waiting.append(frame)
            self._changed.set()

    def end(self, why: Ending) -> None:
        """No more after what waits."""
        self.ending = self.ending or why
        self._changed.set()

    async def next(self, seconds: float) -> bytes | None:
        """The next event; None where nothing was told for so long, or `ending` says that nothing will be."""
        if not self._waiting and self.ending is None:
            self._changed.clear()
            try:
                async with asyncio.timeout(seconds):
                    await self._changed.wait()
            except TimeoutError:
                return None
        return self._waiting.popleft() if self._waiting else None


@dataclass(slots=True)
class _Room:
    """The listeners of one customer."""

    listeners: set[Listener] = field(default_factory=set)
    is_subscribed: asyncio.Event = field(default_factory=asyncio.Event)


class LiveHub:
    """The listeners of this process. All of it on one event loop."""

    def __init__(self, redis: Any, name_prefix: str, bounds: StreamBounds) -> None:
        self._redis = redis
        self._name_prefix = name_prefix
        self._bounds = bounds
        self._rooms: dict[str, _Room] = {}
        self._pubsub: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._is_stopping = False

    @property
    def listeners(self) -> int:
        """How many there are."""
        return sum(len(room.listeners) for room in self._rooms.values())

    async def listen(self, app: str, customer_id: str) -> Listener:
        """A listener that misses nothing from now on; whoever got it calls `leave` in the end.

        ApiError 429 where the customer has too many already, 503 where Redis or this process cannot.
        """
        channel = live.channel(self._name_prefix, app, customer_id)
        self._require_place(channel)
        room = self._rooms.setdefault(channel, _Room())
        listener = Listener(channel, self._bounds.waiting_events)
        room.listeners.add(listener)
        try:
            async with asyncio.timeout(self._bounds.answer_seconds):
                if not room.is_subscribed.is_set():
                    await self._subscribe(channel)
                    await room.is_subscribed.wait()
        except _AWAY as error:
            self.leave(listener)
            raise _away() from error
        except BaseException:
            self.leave(listener)
            raise
        if listener.ending:
            raise _away()
        return listener

    def leave(self, listener: Listener) -> None:
        """Nobody reads it any more."""
        room = self._rooms.get(listener.channel)
        if room is None or listener not in room.listeners:
            return
        room.listeners.discard(listener)
        if not room.listeners:
            del self._rooms[listener.channel]
            task = asyncio.create_task(self._unsubscribe(listener.channel))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def stop(self) -> None:
        """End all listeners and take no more: the process is to end."""
        self._is_stopping = True
        self._end_all("stopping")

    async def close(self) -> None:
        """Leave Redis."""
        self.stop()
        await asyncio.gather(*self._leaving)
        async with self._changing:
            await self._disconnect()

    def _require_place(self, channel: str) -> None:
        if self._is_stopping:
            raise unavailable("stopping; connect to another instance", code="not_ready")
        room = self._rooms.get(channel)
        if room and len(room.listeners) >= self._bounds.listeners_of_customer:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "too_many_streams",
                f"this customer has {self._bounds.listeners_of_customer} open streams; close some first",
                headers={"Retry-After": str(_RETRY_AFTER_SECONDS)},
            )
        if self.listeners >= self._bounds.listeners:
            raise unavailable(
                "too many open streams", code="overloaded", retry_after_seconds=_RETRY_AFTER_SECONDS
            )

    async def _subscribe(self, channel: str) -> None:
        async with self._changing:
            if self._pubsub is None:
                pubsub = self._redis.pubsub()
                try:
                    await pubsub.subscribe(channel)
                except BaseException:
                    await pubsub.aclose()
                    raise
                self._pubsub = pubsub
                self._reader = asyncio.create_task(self._read(pubsub), context=Context())
            elif channel in self._rooms:
                await self._pubsub.subscribe(channel)

    async def _unsubscribe(self, channel: str) -> None:
        async with self._changing:
            if not self._rooms:
                await self._disconnect()
            elif self._pubsub is not None and channel not in self._rooms:
                try:
                    await self._pubsub.unsubscribe(channel)
                except _AWAY as error:
                    log.debug("the reader will notice as well", exc_info=error)

    async def _disconnect(self) -> None:
        reader, pubsub = self._reader, self._pubsub
        self._reader = self._pubsub = None
        if reader:
            reader.cancel()
            await asyncio.wait({reader})
        if pubsub:
            await pubsub.aclose()

    async def _read(self, pubsub: Any) -> None:
        try:
            await self._read_until_away(pubsub)
        except _AWAY as error:
            problem = {"error": type(error).__name__, "listeners": self.listeners}
            log.warning("Redis went away: open streams end", extra=problem)
            self._end_all("unavailable")
            if self._pubsub is pubsub:
                self._reader = self._pubsub = None
            await pubsub.aclose()

    async def _read_until_away(self, pubsub: Any) -> None:
        is_asked = False
        while True:
            message = await pubsub.get_message(timeout=self._bounds.quiet_seconds)
            if message is not None:
                is_asked = False
                self._handle(message)
            elif is_asked:
                raise TimeoutError("no sign of life")
            else:
                await pubsub.ping()
                is_asked = True

    def _handle(self, message: Mapping[str, Any]) -> None:
        name = message.get("channel")
        room = self._rooms.get(name.decode()) if isinstance(name, bytes) else None
        if room is None:
            return
        if message["type"] == "subscribe":
            room.is_subscribed.set()
        elif message["type"] == "message" and (frame := _frame_of(message["data"])):
            for listener in room.listeners:
                listener.tell(frame)

    def _end_all(self, why: Ending) -> None:
        rooms = list(self._rooms.values())
        self._rooms.clear()
        for room in rooms:
            for listener in room.listeners:
                listener.end(why)
            # Whoever waits for it hears of the end instead.
            room.is_subscribed.set()


def frame(kind: str, body: Mapping[str, Any]) -> bytes:
    """An event as EventSource reads it."""
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(body) + b"\n\n"


def _frame_of(payload: bytes) -> bytes | None:
    try:
        told = live.decode(payload)
    except msgspec.MsgspecError:
        log.warning("something else than ours was told")
        return None
    return frame(told.kind, told.body)


def _away() -> ApiError:
    return unavailable(
        "what happens cannot be told now; read the state, and connect again",
        retry_after_seconds=_RETRY_AFTER_SECONDS,
    )
