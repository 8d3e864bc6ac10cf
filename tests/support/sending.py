"""A client as it should be: it sends again until it is told that its events are durable."""

import gzip
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self

import httpx

BATCH_EVENTS = 50
RETRY_SECONDS = 0.2
GIVE_UP_SECONDS = 300


class _Caller:
    """One key's connection to one API."""

    def __init__(self, url: str, key: str) -> None:
        self._client = httpx.Client(base_url=url, auth=(key, ""), timeout=60, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()


class Sender(_Caller):
    """Sends native events, counting what was acknowledged."""

    def __init__(self, url: str, key: str) -> None:
        super().__init__(url, key)
        self.acknowledged = 0
        self.refusals = 0

    def send(self, events: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """The answer to one request, however often it had to be made."""
        body = gzip.compress(json.dumps(events).encode())
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < give_up:
            try:
                answer = self._client.post("/v1/events", content=body, headers={"Content-Encoding": "gzip"})
            except httpx.TransportError:
                answer = None
            if answer is not None and answer.status_code == 202:
                self.acknowledged += answer.json()["accepted"]
                return dict(answer.json())
            if answer is not None and answer.status_code not in {429, 503}:
                raise AssertionError(f"{answer.status_code}: {answer.text}")
            self.refusals += 1
            time.sleep(RETRY_SECONDS)
        raise AssertionError("the API took nothing for five minutes")

    def send_all(self, events: Iterable[dict[str, Any]], size: int = BATCH_EVENTS) -> None:
        """Send in batches, in order; what is rejected fails the test."""
        everything = list(events)
        for start in range(0, len(everything), size):
            answer = self.send(everything[start : start + size])
            assert answer["rejected"] == []


class Reader(_Caller):
    """Reads results, with a secret key."""

    def get(self, path: str, **query: Any) -> Any:
        """The JSON of an answer that must be 200, trying again while the API is away."""
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < give_up:
            try:
                answer = self._client.get(path, params=query)
            except httpx.TransportError:
                time.sleep(RETRY_SECONDS)
                continue
            if answer.status_code < 500:
                answer.raise_for_status()
                return answer.json()
            time.sleep(RETRY_SECONDS)
        raise AssertionError(f"no answer from {path}")

    def sessions(self, customer_id: str) -> list[dict[str, Any]]:
        """Every session of a customer, through all pages."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            query = {"limit": 1000} | ({"cursor": cursor} if cursor else {})
            page = self.get(f"/v1/customers/{customer_id}/sessions", **query)
            found += page["sessions"]
            cursor = page["next"]
            if cursor is None:
                return found

    def events(self, customer_id: str) -> int:
        """How many events of a customer have been counted."""
        return int(self.get(f"/v1/customers/{customer_id}/counters")["events"])


def wait_for(what: str, done: Callable[[], bool], seconds: float = 300) -> None:
    """Until `done`; the test fails with `what` after that many seconds."""
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what}")
        time.sleep(0.25)
