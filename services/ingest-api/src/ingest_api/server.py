"""uvicorn as this service runs it: no client holds memory for nothing, and none loses its answer.

- A head that never ends is given up, by its time and by its bytes.
- Whoever still sends when its answer is written may go on for a moment, unheard: a connection that is
  closed while bytes arrive is reset, and a reset can overtake the answer.
- At the end nothing new is accepted, every answer says `Connection: close`, and a connection on which
  nothing is asked is closed only after a while: a request may be on its way on it.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from ingest_api.errors import ApiError, unavailable

MAX_HEAD_BYTES = 64 * 1024
"""Of a head, beside what is read at once with its beginning or its end."""
_MAX_REST_BYTES = 2 * 1024 * 1024
"""Of all that follows a head: a body, and as much again of what stands between its pieces and behind it."""
_MAX_HEADERS = 1_000
KEEP_ALIVE_SECONDS = 75
"""Longer than load balancers keep an idle connection: else one would send on what is just being closed."""
FAREWELL_SECONDS = 1.0
"""How long an idle connection is kept at the end."""
_MOMENT_SECONDS = 0.01
_LINGER_SECONDS = 2.0
_UNFINISHED_SECONDS = 3.0
"""How long a body may still take at the end: well within the grace, after which nothing is answered."""


class _State(ServerState):
    is_ending = False


class Server(uvicorn.Server):
    """Leaves signals to `main`: uvicorn would raise them again and skip what comes after it."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.server_state = self._state = _State()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: Any = None) -> None:
        self._state.is_ending = True
        await super().shutdown(sockets)


def server(app: ASGIApp, host: str, port: int, grace_seconds: float, head_seconds: float) -> Server:
    """A server that answers requests under way before it ends, for at most `grace_seconds`.

    `head_seconds`: how long a connection may take to send the head of a request, give or take as much again.
    """

    class Http(_Http):
        look_seconds = head_seconds

    return Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            loop="none",
            http=Http,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(grace_seconds),
        )
    )


class _Outlet:
    """The transport as one request has it: what closes after the answer is the connection's business."""

    def __init__(self, http: "_Http", transport: asyncio.Transport) -> None:
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.close = http.close_after_answer


class _Http(HttpToolsProtocol):
    """Looks at each connection now and then, which costs a request nothing: a timer for each would."""

    look_seconds: float
    server_state: _State

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._outlet: Any = _Outlet(self, transport)
        self._is_deaf = False
        self._latest: Any = None
        self._is_in_body = False
        self._bytes = 0
        self._seen: Any = self
        self._look = self.loop.call_later(self.look_seconds, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        super().data_received(data)
        cycle = self.cycle
        if cycle is self._latest:
            self._count(data)
            return
        self._latest = cycle
        self._is_in_body = cycle.more_body
        self._bytes = 0
        cycle.transport = self._outlet
        if self.server_state.is_ending:
            cycle.keep_alive = False

    def _count(self, data: bytes) -> None:
        """Nothing that belongs to one request is without a bound: `data` has ended no head."""
        is_in_body = self.cycle is not None and self.cycle.more_body
        if self._is_in_body and not is_in_body:
            self._is_in_body = False
            self._bytes = 0
            return
        self._bytes += len(data)
        if self._bytes > (_MAX_REST_BYTES if is_in_body else MAX_HEAD_BYTES) or self._has_many_headers():
            message = f"the head of the request is over {MAX_HEAD_BYTES:,} bytes"
            self._refuse(ApiError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", message))

    def _has_many_headers(self) -> bool:
        # Short ones take twenty times their bytes, and those behind a body have all of its bytes.
        return self.cycle is not None and len(self.headers) > _MAX_HEADERS

    def send_400_response(self, msg: str) -> None:
        """What cannot be read as HTTP is refused in the form of all errors."""
        self._refuse(ApiError(HTTPStatus.BAD_REQUEST, "invalid_http", "this is no HTTP request", msg))

    def close_after_answer(self) -> None:
        """Close now, or where the request is not whole yet, once its sender has had time to hear of it."""
        if self.cycle.more_body or self._is_deaf:
            self._linger()
        else:
            self.transport.close()

    def shutdown(self) -> None:
        """The server is to end."""
        if self._is_idle():
            # In two steps: a loop that stood still meanwhile is to hear first what came meanwhile.
            self.loop.call_later(FAREWELL_SECONDS, self.loop.call_later, _MOMENT_SECONDS, self._say_farewell)
        else:
            self.cycle.keep_alive = False
            if self.cycle.more_body:
                self.loop.call_later(_UNFINISHED_SECONDS, self._give_up_body)

    def _give_up_body(self) -> None:
        if not self._is_idle() and self.cycle.more_body:
            self._refuse(unavailable("stopping; send the same request to another instance", code="not_ready"))

    def _say_farewell(self) -> None:
        if not self._is_idle() or self._is_deaf:
            return
        if self._bytes == 0:
            self.transport.close()
        else:
            # Some of a head is here: its request is to have its answer.
            self.loop.call_later(FAREWELL_SECONDS, self.transport.close)

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, error: ApiError) -> None:
        if self.transport.is_closing() or self._is_deaf:
            return
        if not self._is_idle() and not self.cycle.more_body:
            # What came before is a whole request, and the next answer is for that one.
            self.cycle.keep_alive = False
            self._is_deaf = True
            return
        if self.cycle is None or not (self.cycle.response_complete and self.cycle.more_body):
            body = msgspec.json.encode(error.body)
            told = {"content-type": "application/json", "content-length": len(body), "connection": "close"}
            head = "".join(f"{name}: {value}\r\n" for name, value in {**told, **error.headers}.items())
            self.transport.write(STATUS_LINE[error.status] + head.encode() + b"\r\n" + body)
        self._linger()

    def _linger(self) -> None:
        self._is_deaf = True
        self.pipeline.clear()
        if not self._is_idle():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.flow.resume_reading()
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.close)

    def _check(self) -> None:
        waiting = self.timeout_keep_alive_task is None and self._is_idle()
        if waiting and self._seen is self.cycle:
            self.transport.close()
            return
        self._seen = self.cycle if waiting else self
        self._look = self.loop.call_later(self.look_seconds, self._check)
