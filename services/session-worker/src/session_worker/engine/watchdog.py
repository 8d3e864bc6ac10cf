"""Ends the process when something holds its event loop, which stops every processor in it.

A function of a processor that never returns cannot be stopped from outside in Python. So the process ends,
names the processor in its log, and is started again by whatever runs it. The others go on from their queues;
the messages that brought it out come again and, in the end, go to the dead-letter queue.
"""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from types import FrameType
from typing import NamedTuple

from session_worker.processor import Processor

log = logging.getLogger(__name__)

EXIT_CODE = 70
_TICKS = 8
"""How often the watchdog looks within the time that it allows."""
_MARGIN = 1.5
"""How much longer than the watchdog the one behind it waits."""


class Culprit(NamedTuple):
    """What held the loop, as far as its stack tells."""

    processor: str | None
    function: str
    line: int


class Patience:
    """How long the loop has been silent while this process was awake. Pure."""

    def __init__(self, most_seconds: float, tick_seconds: float) -> None:
        self._most_seconds = most_seconds
        self._longest_tick_seconds = 2 * tick_seconds
        self._seen = -1
        self._silent_seconds = 0.0

    def is_over(self, beats: int, since_last_seconds: float) -> bool:
        """Whether the loop, which has beaten so often, was silent for too long."""
        if beats != self._seen:
            self._seen, self._silent_seconds = beats, 0.0
        else:
            # A laptop that slept or a process that was stopped has blocked nobody.
            self._silent_seconds += min(since_last_seconds, self._longest_tick_seconds)
        return self._silent_seconds >= self._most_seconds


@asynccontextmanager
async def watching(max_blocked_seconds: float, end: Callable[[], None] | None = None) -> AsyncIterator[None]:
    """End the process (or call `end`) when the running loop stands still for so long in this block."""
    watchdog = _Watchdog(max_blocked_seconds, end or _end)
    beating = asyncio.create_task(watchdog.beat())
    thread = threading.Thread(target=watchdog.watch, name="watchdog", daemon=True)
    thread.start()
    try:
        yield
    finally:
        watchdog.stopped.set()
        beating.cancel()
        with suppress(asyncio.CancelledError):
            await beating
        faulthandler.cancel_dump_traceback_later()
        thread.join()


class _Watchdog:
    def __init__(self, max_blocked_seconds: float, end: Callable[[], None]) -> None:
        self.stopped = threading.Event()
        self._max_blocked_seconds = max_blocked_seconds
        self._tick_seconds = max_blocked_seconds / _TICKS
        self._end = end
        self._beats = 0
        self._loop_thread = threading.get_ident()

    async def beat(self) -> None:
        while True:
            self._beats += 1
            # For what holds the interpreter as well, such as a regular expression: this one needs no
            # interpreter, and prints where everything stands.
            faulthandler.dump_traceback_later(self._max_blocked_seconds * _MARGIN, exit=True)
            await asyncio.sleep(self._tick_seconds)

    def watch(self) -> None:
        patience = Patience(self._max_blocked_seconds, self._tick_seconds)
        last = time.monotonic()
        while not self.stopped.wait(self._tick_seconds):
            now = time.monotonic()
            if patience.is_over(self._beats, now - last):
                culprit = culprit_of(sys._current_frames().get(self._loop_thread))  # noqa: SLF001
                log.critical("the event loop is held; the process ends", extra=culprit._asdict())
                self._end()
                return
            last = now


def culprit_of(frame: FrameType | None) -> Culprit:
    """The processor's function nearest to where the loop's thread stands, else where it stands."""
    innermost, found = frame, frame
    while found is not None:
        owner = found.f_locals.get("self")
        if isinstance(owner, Processor):
            return Culprit(owner.name, found.f_code.co_qualname, found.f_lineno)
        found = found.f_back
    if innermost is None:
        return Culprit(None, "", 0)
    return Culprit(None, innermost.f_code.co_qualname, innermost.f_lineno)


def _end() -> None:
    # Nothing else is sure to end a process whose main thread does not return.
    sys.stderr.flush()
    os._exit(EXIT_CODE)
