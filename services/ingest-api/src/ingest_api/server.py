"""uvicorn as this service runs it: signals are the service's own, and a head that never ends is given up."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
"""How long a connection may take to send the head of a request, give or take as much again."""


class Server(uvicorn.Server):
    """Leaves signals to `main`: uvicorn would raise them again and skip what comes after it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def server(app: ASGIApp, host: str, port: int, grace_seconds: float) -> Server:
    """A server that answers requests under way before it ends, for at most so long."""
    return Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="none",
            http=_Http,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=int(grace_seconds),
        )
    )


class _Corked:
    """A transport that lets the head of an answer wait for its body: one call to the system, not two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held = b""

    def write(self, data: bytes) -> None:
        """Write the data together with the next, or, if nothing follows at once, alone."""
        if self._held:
            data, self._held = self._held + data, b""
            self._transport.write(data)
        else:
            self._held = data
            self._loop.call_soon(self._flush)

    def close(self) -> None:
        """Write what waits, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            data, self._held = self._held, b""
            self._transport.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class _Http(HttpToolsProtocol):
    """Looks at each connection now and then, which costs a request nothing: a timer for each would."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(_Corked(transport, self.loop))  # type: ignore[arg-type]  # it does what it must
        self._seen: Any = self
        self._look = self.loop.call_later(HEAD_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def _check(self) -> None:
        waiting = self.timeout_keep_alive_task is None and (
            self.cycle is None or self.cycle.response_complete
        )
        if waiting and self._seen is self.cycle:
            self.transport.close()
            return
        self._seen = self.cycle if waiting else self
        self._look = self.loop.call_later(HEAD_SECONDS, self._check)
