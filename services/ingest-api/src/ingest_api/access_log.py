"""One line a request, for operators: what was asked and how it ended, never what was in it.

Busy senders would write more log than events: of what succeeds on the hot path one request in so many is
written, and of errors no more than so many a second. Metrics count all of them.
"""

import logging
import time

log = logging.getLogger("ingest_api.access")


class AccessLog:
    """Decides which requests are written and writes them. All of it on one event loop."""

    def __init__(self, every: int, errors_per_second: int = 50) -> None:
        self._every = every
        self._errors_per_second = errors_per_second
        self._passed = 0
        self._second = 0
        self._errors = 0

    def sent(self, method: str, path: str, status: int, started: float, events: int) -> None:
        """A request to a sending endpoint. `started` is of `time.perf_counter`."""
        if status < 400:
            self._passed += 1
            if self._passed % self._every:
                return
        elif not self._room_for_an_error():
            return
        _write(method, path, status, started, events=events)

    def served(self, method: str, route: str, status: int, started: float) -> None:
        """Any other request, by the route's template: an address would name a customer."""
        if status < 400 or self._room_for_an_error():
            _write(method, route, status, started)

    def _room_for_an_error(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._errors = second, 0
        self._errors += 1
        return self._errors <= self._errors_per_second


def _write(method: str, route: str, status: int, started: float, **more: int) -> None:
    milliseconds = round((time.perf_counter() - started) * 1000, 1)
    log.info("request", extra={"method": method, "route": route, "status": status, "ms": milliseconds} | more)
