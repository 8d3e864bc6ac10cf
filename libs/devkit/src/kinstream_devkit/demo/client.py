"""Kinstream's API as a well-behaved client uses it: many connections, patient with 503, no secrets."""

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import quote

import httpx

from kinstream_devkit.demo.findings import DemoError

CONCURRENT_READS = 8

_PATIENCE_SECONDS = 60.0
_LONGEST_PAUSE_SECONDS = 5.0
_K = TypeVar("_K")
_V = TypeVar("_V")


class DemoClient:
    """Requests with retries. Everything asked through it may be asked twice without harm."""

    def __init__(self, url: str, write_key: str, secret_key: str) -> None:
        self.retries: Counter[str] = Counter()
        self._write_key = write_key
        self._secret_key = secret_key
        limits = httpx.Limits(max_connections=32, max_keepalive_connections=32)
        # trust_env off: the stack is on this machine, and no proxy between may answer in its place.
        self._http = httpx.AsyncClient(base_url=url, timeout=30, limits=limits, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def send_events(self, body: bytes) -> dict[str, Any]:
        """POST /v1/events; returns its answer once the events are durable."""
        return await self._json("POST", "/v1/events", self._write_key, content=body)

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """GET with the secret key."""
        return await self._json("GET", path, self._secret_key, params=params)

    async def put(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """PUT with the secret key."""
        return await self._json("PUT", path, self._secret_key, json=body)

    async def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """POST with the secret key."""
        return await self._json("POST", path, self._secret_key, json=body)

    async def pages(self, path: str, member: str, **params: Any) -> AsyncIterator[dict[str, Any]]:
        """Members of every page of a listing."""
        cursor: str | None = None
        while True:
            page = await self.get(path, **params, **({"cursor": cursor} if cursor else {}))
            for item in page[member]:
                yield item
            cursor = page.get("next")
            if not cursor:
                return

    async def upload(self, url: str, fields: dict[str, str], name: str, file: BinaryIO, kind: str) -> None:
        """The presigned POST of a media item, straight to storage."""
        # A connection that breaks is begun anew: httpx reads the file from its start each time.
        files = {"file": (name, file, kind)}
        response = await self._patiently("POST", url, data=fields, files=files)
        if response.status_code >= 300:
            raise DemoError(f"the upload of {name} was refused: {response.status_code} {response.text[:300]}")

    async def download(self, url: str) -> bytes:
        """A rendition, by the URL that the API gave."""
        response = await self._http.get(url, follow_redirects=True)
        if response.status_code != 200:
            raise DemoError(f"a rendition does not download: {response.status_code} {response.text[:300]}")
        return response.content

    async def _json(self, method: str, path: str, key: str, **options: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        response = await self._patiently(method, path, headers=headers, **options)
        if response.is_success:
            answer: dict[str, Any] = response.json() if response.content else {}
            return answer
        raise DemoError(f"{method} {path} answered {_words(response)}")

    async def _patiently(self, method: str, path: str, **options: Any) -> httpx.Response:
        give_up = time.monotonic() + _PATIENCE_SECONDS
        for attempt in itertools.count():
            pause = min(0.1 * 2**attempt, _LONGEST_PAUSE_SECONDS) * random.uniform(0.5, 1)
            try:
                response = await self._http.request(method, path, **options)
            except httpx.TransportError as error:
                self.retries[type(error).__name__] += 1
                if time.monotonic() > give_up:
                    raise DemoError(f"{method} {path} got no answer for {_PATIENCE_SECONDS:.0f} s") from error
            else:
                if response.status_code not in {429, 503} or time.monotonic() > give_up:
                    return response
                self.retries[str(response.status_code)] += 1
                pause = max(pause, _retry_after_seconds(response))
            await asyncio.sleep(pause)
        raise AssertionError("count() does not end")


def _words(response: httpx.Response) -> str:
    """What an answer that is no success says, for people."""
    try:
        error = response.json()
        return f"{response.status_code} {error['code']}: {error['message']}"
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code}: {response.text[:400]}"


def _retry_after_seconds(response: httpx.Response) -> float:
    try:
        return min(float(response.headers.get("Retry-After", 0)), 30.0)
    except ValueError:
        return 1.0


def customer_path(customer_id: str, rest: str) -> str:
    """Path of something of a customer, whatever characters its id is made of."""
    return f"/v1/customers/{quote(customer_id, safe='')}/{rest}"


def content_path(content_id: str) -> str:
    """Path of a content's counters."""
    return f"/v1/content/{quote(content_id, safe='')}/counters"


async def each(
    keys: Iterable[_K], read: Callable[[_K], Awaitable[_V]], concurrent: int = CONCURRENT_READS
) -> dict[_K, _V]:
    """What `read` gives for each key, a few at a time."""
    gate = asyncio.Semaphore(concurrent)

    async def one(key: _K) -> tuple[_K, _V]:
        async with gate:
            return key, await read(key)

    return dict(await asyncio.gather(*map(one, keys)))
