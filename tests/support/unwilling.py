"""A loopback proxy in front of a server that refuses before it lets through: what a client does then
is what its users get on a bad day."""

import http.client
import json
import math
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

HOST = "127.0.0.1"
ALWAYS = math.inf

_REFUSAL = json.dumps(
    {"code": "unavailable", "message": "send the same again in a moment", "detail": None}
).encode()
# Of one connection, so they belong to one side of the proxy alone.
_HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
_TIMEOUT_SECONDS = 120


@dataclass(frozen=True)
class Seen:
    """A request as it came, and the status that it was answered with. Header names are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    status: int


@dataclass
class Unwilling:
    """A running proxy. `seen` holds every request in the order of its answer."""

    url: str
    seen: list[Seen] = field(default_factory=list)

    @property
    def statuses(self) -> list[int]:
        """Of all requests but the preflights of browsers."""
        return [one.status for one in self.seen if one.method != "OPTIONS"]


def each_body(path: str, body: bytes) -> Hashable:
    """Counts tries of each distinct request."""
    return path, body


def all_together(_path: str, _body: bytes) -> Hashable:
    """Counts tries of all requests together, for clients whose body changes from try to try."""
    return None


@contextmanager
def unwilling(
    target: str,
    refusals: float = 2,
    counted: Callable[[str, bytes], Hashable] = all_together,
    *,
    status: int = 503,
    retry_after_seconds: int | None = 1,
) -> Iterator[Unwilling]:
    """A proxy before `target` that answers the first `refusals` tries with `status`, then forwards.

    `counted` says which requests are tries of the same; ALWAYS never lets one through. Preflights of
    browsers are always forwarded, and refusals may be read from any origin, as the API's own may.
    """
    with _Server((HOST, 0), _Handler) as server:
        server.target = urlsplit(target).netloc
        server.refusals, server.counted, server.status = refusals, counted, status
        if retry_after_seconds is not None:
            server.refusal_headers.append(("Retry-After", str(retry_after_seconds)))
        server.running = Unwilling(f"http://{HOST}:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield server.running
        finally:
            server.shutdown()
            thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    target: str
    refusals: float
    counted: Callable[[str, bytes], Hashable]
    status: int
    running: Unwilling

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.refusal_headers = [("Content-Type", "application/json"), ("Access-Control-Allow-Origin", "*")]
        self.tries: Counter[Hashable] = Counter()
        self.lock = threading.Lock()

    def refuses(self, path: str, body: bytes) -> bool:
        """Whether this try is among those that fail."""
        with self.lock:
            key = self.counted(path, body)
            self.tries[key] += 1
            return self.tries[key] <= self.refusals

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is part of what is tested."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing: tests are quiet."""

    def _any(self) -> None:
        body = self._body()
        headers = {name.lower(): value for name, value in self.headers.items()}
        if self.command != "OPTIONS" and self.server.refuses(self.path, body):
            answer = self.server.status, self.server.refusal_headers, _REFUSAL
        else:
            answer = self._forward(body, headers)
        with self.server.lock:
            self.server.running.seen.append(Seen(self.command, self.path, headers, body, answer[0]))
        self._send(*answer)

    do_GET = do_POST = do_PUT = do_HEAD = do_OPTIONS = _any  # noqa: N815 - the base class calls them so

    def _body(self) -> bytes:
        if self.headers.get("transfer-encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        parts = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(parts)

    def _forward(self, body: bytes, headers: dict[str, str]) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(self.server.target, timeout=_TIMEOUT_SECONDS)
        try:
            kept = {name: value for name, value in headers.items() if name not in _HOP_HEADERS}
            connection.request(self.command, self.path, body or None, kept)
            answer = connection.getresponse()
            names = [(k, v) for k, v in answer.getheaders() if k.lower() not in _HOP_HEADERS]
            return answer.status, names, answer.read()
        finally:
            connection.close()

    def _send(self, status: int, names: list[tuple[str, str]], content: bytes) -> None:
        with suppress(ConnectionError):
            self.send_response_only(status)
            for name, value in [*names, ("Content-Length", str(len(content)))]:
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
