"""A client of the event stream that reads as a browser does."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

_TIMEOUT_SECONDS = 180


class Screen:
    """What a client reads of an open stream, event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = _lines(response.iter_bytes())

    def events(self) -> Iterator[tuple[str, dict]]:
        kind = ""
        for line in self._lines:
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                yield kind, json.loads(line.removeprefix("data: "))

    def next(self) -> tuple[str, dict]:
        return next(self.events())

    def wait_for_comment(self) -> None:
        assert any(line.startswith(":") for line in self._lines)


def _lines(pieces: Iterator[bytes]) -> Iterator[str]:
    """As EventSource reads them: no other characters end a line, whatever Unicode says."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from (line.decode() for line in whole)


@contextmanager
def screen(client: httpx.Client, customer_id: str, **options) -> Iterator[Screen]:
    params = {"customer_id": customer_id}
    with client.stream("GET", "/v1/stream", params=params, timeout=_TIMEOUT_SECONDS, **options) as response:
        assert response.status_code == 200, response.read()
        one = Screen(response)
        assert one.next() == ("stream.opened", {})
        yield one
