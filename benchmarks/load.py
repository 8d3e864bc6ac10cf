"""`python -m benchmarks.load`: a closed loop of connections that POST bodies, and one line of JSON about it.

Raw sockets, because a general HTTP client would cost more than the server that it loads.
"""

import argparse
import asyncio
import json
import time
from pathlib import Path
from typing import cast

import uvloop

from benchmarks.schedule import percentile


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the one before is whole."""

    def __init__(self, requests: list[bytes], most: int, done: asyncio.Future[None]) -> None:
        self._requests = requests
        self._left = most
        self._done = done
        self._received = b""
        self.refused = 0
        self.delays_seconds: list[float] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._next()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, rest = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(rest) < int(length or 0):
            return
        self._received = b""
        self.delays_seconds.append(time.perf_counter() - self._sent)
        self.refused += not head.startswith(b"HTTP/1.1 202")
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(error or ConnectionError("the server closed a connection"))

    def _next(self) -> None:
        if self._left == 0:
            self._done.set_result(None)
            self._transport.close()
            return
        self._left -= 1
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._left % len(self._requests)])


async def _load(args: argparse.Namespace) -> dict[str, float]:
    head = (
        f"POST {args.path} HTTP/1.1\r\nHost: 127.0.0.1:{args.port}\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {args.key}\r\nContent-Length: "
    )
    bodies = args.bodies.read_bytes().splitlines()
    requests = [head.encode() + b"%d\r\n\r\n%b" % (len(body), body) for body in bodies]
    loop = asyncio.get_running_loop()
    connections = []
    began = time.perf_counter()
    for _ in range(args.connections):
        done = loop.create_future()
        connection = _Connection(requests, args.requests // args.connections, done)
        connections.append((connection, done))
        await loop.create_connection(lambda made=connection: made, "127.0.0.1", args.port)  # type: ignore[misc]
    for _, done in connections:
        await done
    seconds = time.perf_counter() - began
    delays = [delay for connection, _ in connections for delay in connection.delays_seconds]
    return {
        "requests": len(delays),
        "seconds": seconds,
        "refused": sum(connection.refused for connection, _ in connections),
        "p50_ms": percentile(delays, 0.5) * 1000,
        "p99_ms": percentile(delays, 0.99) * 1000,
    }


def main() -> None:
    """Send, measure, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--path", default="/v1/events")
    parser.add_argument("--bodies", type=Path, required=True, help="a file with a body a line")
    parser.add_argument("--key", default="none")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--requests", type=int, required=True)
    args = parser.parse_args()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(runner.run(_load(args))))


if __name__ == "__main__":
    main()
