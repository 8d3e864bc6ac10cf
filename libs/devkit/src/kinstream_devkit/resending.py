"""Sends events to a running API as a client should: again and again until it says that they are durable."""

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from kinstream.errors import PermanentError, RetryableError

MAX_EVENTS = 500
MAX_BYTES = 768 * 1024
"""Of one request: both below what the API takes."""

_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 10.0
_GIVE_UP_SECONDS = 300.0
_TIMEOUT_SECONDS = 30.0


class Resender:
    """One app's connection to the API. A call that was cut short may be repeated: events count once.

    `key` is asked for the app's write key before the first request.
    """

    def __init__(self, url: str, key: Callable[[], str], say: Callable[[str], None]) -> None:
        self._client = httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS, trust_env=False)
        self._key = key
        self._auth: tuple[str, str] | None = None
        self._say = say

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def send(self, events: Sequence[bytes]) -> dict[int, str]:
        """Code of each event that the API did not count, by its place; all of them are durable now.

        RetryableError where the API took nothing for five minutes, PermanentError where it never will.
        """
        refused: dict[int, str] = {}
        for start, end in _requests(events):
            body = b"[%b]" % b",".join(events[start:end])
            for rejection in self._post(body)["rejected"]:
                refused[start + rejection["index"]] = rejection["error"]
        return refused

    def _post(self, body: bytes) -> dict[str, Any]:
        if self._auth is None:
            self._auth = (self._key(), "")
        pause, deadline = _FIRST_PAUSE_SECONDS, time.monotonic() + _GIVE_UP_SECONDS
        while True:
            wait, why = pause, "it does not answer"
            try:
                answer = self._client.post("/v1/events", content=body, auth=self._auth)
            except httpx.TransportError as error:
                why = f"it does not answer: {type(error).__name__}"
            else:
                if answer.status_code == httpx.codes.ACCEPTED:
                    return dict(msgspec.json.decode(answer.content))
                if answer.status_code < 500 and answer.status_code not in {408, 429}:
                    raise PermanentError(f"the API refuses the request: {_words(answer)}")
                why = _words(answer)
                wait = max(pause, _retry_after_seconds(answer))
            if time.monotonic() + wait > deadline:
                raise RetryableError(
                    f"the API took nothing for five minutes ({why}); run the same command again later"
                )
            self._say(f"waiting {wait:.0f} s: {why}")
            time.sleep(wait)
            pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)


def _requests(events: Sequence[bytes]) -> list[tuple[int, int]]:
    """(from, to) of each request that the events are sent in."""
    found, start, size_bytes = [], 0, 0
    for place, event in enumerate(events):
        if place > start and (place - start == MAX_EVENTS or size_bytes + len(event) > MAX_BYTES):
            found.append((start, place))
            start, size_bytes = place, 0
        size_bytes += len(event) + 1
    if start < len(events):
        found.append((start, len(events)))
    return found


def _words(answer: httpx.Response) -> str:
    try:
        error = msgspec.json.decode(answer.content)
        return f"{answer.status_code} {error['code']}: {error['message']}"
    except (msgspec.MsgspecError, KeyError, TypeError):
        return str(answer.status_code)


def _retry_after_seconds(answer: httpx.Response) -> float:
    text = answer.headers.get("Retry-After", "")
    return min(float(text), _LONGEST_PAUSE_SECONDS * 6) if text.isdigit() else 0.0
