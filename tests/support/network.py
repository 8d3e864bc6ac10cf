"""Clients and networks that misbehave: raw connections, and a TCP proxy that can be cut. Loopback only."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
import psutil

from kinstream_devkit.embedded.emulator import HOST, free_port
from tests.support.background import background_loop

TIMEOUT_SECONDS = 120
NOBODYS_PORT = 9
"""Low enough for nobody to be given it by chance: who calls it is refused."""

_PIECE_BYTES = 64 * 1024
_LOOK_SECONDS = 0.005

Trouble = Literal["none", "down", "blackhole", "latency", "reset"]


@dataclass(frozen=True)
class Answered:
    """An answer as it came. Header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body's content."""
        return msgspec.json.decode(self.body)

    @property
    def is_last(self) -> bool:
        """Whether the server closes after it."""
        return self.headers.get("connection") == "close"


class Connection:
    """A connection on which any bytes can be sent. Used by one thread."""

    def __init__(self, url: str, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        port = urlsplit(url).port
        assert port is not None
        self.socket = socket.create_connection((HOST, port), timeout_seconds)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._stream = self.socket.makefile("rb")

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.socket.close()

    def send(self, *pieces: bytes) -> None:
        """Send all of it."""
        for piece in pieces:
            self.socket.sendall(piece)

    def send_while_taken(self, piece: bytes, times: int) -> int:
        """How many pieces could be sent before the server would have no more."""
        for sent in range(times):
            try:
                self.socket.sendall(piece)
            except ConnectionError:
                return sent
        return times

    def reset(self) -> None:
        """End it as a crash would: the server gets a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.close()
        self.socket.close()

    def answer(self) -> Answered | None:
        """The next answer, None where the server has closed instead. TimeoutError, ConnectionResetError."""
        status = self._stream.readline()
        if not status:
            return None
        headers = self._headers()
        length = headers.get("content-length")
        if length is None and headers.get("transfer-encoding") == "chunked":
            return Answered(int(status.split()[1]), headers, self._chunks())
        body = self._stream.read(int(length or 0))
        return Answered(int(status.split()[1]), headers, body)

    def is_closed(self) -> bool:
        """Wait until the server closes; False where it sends something instead."""
        try:
            return self._stream.read(1) == b""
        except ConnectionResetError:
            return True

    def _headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        while line := self._stream.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return headers

    def _chunks(self) -> bytes:
        parts = bytearray()
        while size := int(self._stream.readline(), 16):
            parts += self._stream.read(size)
            self._stream.readline()
        self._stream.readline()
        return bytes(parts)


def post(path: str, key: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """The bytes of a POST. `length` is what it says of its body, where that is not so."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: ingest",
        f"Authorization: Bearer {key}",
        f"Content-Length: {len(body) if length is None else length}",
        *headers,
    ]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def chunk(piece: bytes) -> bytes:
    """One piece of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


@dataclass
class Proxy:
    """A running proxy; `cut` and `mend` return when it is done."""

    url: str
    _loop: asyncio.AbstractEventLoop
    _wire: "_Wire"

    def cut(self, trouble: Trouble, seconds: float = 0.0) -> None:
        """From now on: `down` refuses, `reset` breaks each connection once it is used, `blackhole` takes
        bytes and hands none on, `latency` brings each answer `seconds` later."""
        asyncio.run_coroutine_threadsafe(self._wire.change(trouble, seconds), self._loop).result()

    def mend(self) -> None:
        """End the trouble. What a black hole held is handed on, as a network would that lost a link."""
        self.cut("none")


@contextmanager
def proxy(target: str) -> Iterator[Proxy]:
    """A TCP proxy before `target`, a URL."""
    upstream = urlsplit(target).port
    assert upstream is not None
    wire = _Wire(free_port(), upstream)
    with background_loop("proxy") as loop:
        running = Proxy(f"http://{HOST}:{wire.port}", loop, wire)
        running.mend()
        try:
            yield running
        finally:
            asyncio.run_coroutine_threadsafe(wire.close(), loop).result()


class _Wire:
    def __init__(self, port: int, upstream: int) -> None:
        self.port = port
        self._upstream = upstream
        self._trouble: Trouble = "none"
        self._seconds = 0.0
        self._open = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._served: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def change(self, trouble: Trouble, seconds: float) -> None:
        self._trouble, self._seconds = trouble, seconds
        if trouble == "blackhole":
            self._open.clear()
        else:
            self._open.set()
        if trouble == "down":
            await self.close()
        elif self._server is None:
            self._server = await asyncio.start_server(self._serve, HOST, self.port)

    async def close(self) -> None:
        """Accept nothing, and break what is there, also what has only just been accepted."""
        self._open.set()
        if self._server is not None:
            # asyncio leaks a connection that it has accepted and not made when its server closes.
            for listening in self._server.sockets:
                asyncio.get_running_loop().remove_reader(listening)
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            self._server.close()
            self._server = None
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            for writer in self._served.values():
                _break(writer)
            await asyncio.wait(others, timeout=0.1)
        # A transport that is aborted is closed in the loop's next round.
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._served[task] = writer
        try:
            await self._open.wait()
            upstream = await asyncio.open_connection(HOST, self._upstream)
            there = self._pump(reader, upstream[1], writer, is_answer=False)
            back = self._pump(upstream[0], writer, upstream[1], is_answer=True)
            await asyncio.gather(there, back)
        except OSError:
            _break(writer)
        finally:
            del self._served[task]
            writer.close()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        other: asyncio.StreamWriter,
        *,
        is_answer: bool,
    ) -> None:
        """Hand on what is read until there is no more; then, or where that fails, both sides are closed."""
        try:
            while piece := await reader.read(_PIECE_BYTES):
                await self._open.wait()
                if self._trouble == "reset":
                    break
                if self._trouble == "latency" and is_answer:
                    await asyncio.sleep(self._seconds)
                writer.write(piece)
                await writer.drain()
        except OSError:
            pass
        finally:
            for one in (writer, other):
                if self._trouble == "reset":
                    _break(one)
                one.close()


def _break(writer: asyncio.StreamWriter) -> None:
    held: socket.socket = writer.get_extra_info("socket")
    with suppress(OSError):
        held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@contextmanager
def memory_growth_bytes(pid: int) -> Iterator[Callable[[], int]]:
    """Gives how much more memory the process has had at any time within than at the beginning."""
    process = psutil.Process(pid)
    first = most = process.memory_info().rss
    ended = threading.Event()

    def watch() -> None:
        nonlocal most
        while not ended.wait(_LOOK_SECONDS):
            most = max(most, process.memory_info().rss)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: most - first
    finally:
        ended.set()
        thread.join()
