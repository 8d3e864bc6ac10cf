"""The keys of the identity provider, kept while it is away and asked for again only so often.

A token names its key. A name that is not known may be a new key or a made-up one, so it causes at most
one request to the provider a cooldown, however many tokens come with it.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from contextvars import Context
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec

from ingest_api.errors import unavailable

log = logging.getLogger(__name__)

MAX_JWKS_BYTES = 256 * 1024

_MAX_AGE_SECONDS = 600.0
"""After so long the keys are asked for again, so that one that the provider withdrew stops working."""
_FIRST_COOLDOWN_SECONDS = 1.0
"""While no keys were ever read every token is turned away, so it is tried more often."""
_FETCH_SECONDS = 5.0

K = TypeVar("K")


class JwksError(Exception):
    """The provider's keys could not be read. The text is for the log."""


async def fetch_jwks(http: aiohttp.ClientSession, url: str) -> list[dict[str, Any]]:
    """The keys as the provider publishes them; JwksError where they do not come whole and in time."""
    timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    try:
        # A redirect would let whoever controls a path of that host choose our keys.
        async with http.get(url, timeout=timeout, headers=headers, allow_redirects=False) as answer:
            if answer.status != 200:
                raise JwksError(f"the answer was {answer.status}")
            body = bytearray()
            async for part in answer.content.iter_any():
                body += part
                if len(body) > MAX_JWKS_BYTES:
                    raise JwksError(f"the answer has more than {MAX_JWKS_BYTES:,} bytes")
        return msgspec.json.decode(bytes(body), type=_KeySet).keys
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError, RecursionError) as error:
        raise JwksError(type(error).__name__) from error


class _KeySet(msgspec.Struct):
    keys: list[dict[str, Any]]


class TrustedKeys(Generic[K]):
    """Keys by their names. Of many callers that wait for the provider, one asks it."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Mapping[str, K]]],
        *,
        cooldown_seconds: float = 30.0,
        first_cooldown_seconds: float = _FIRST_COOLDOWN_SECONDS,
        max_age_seconds: float = _MAX_AGE_SECONDS,
    ) -> None:
        self._fetch = fetch
        self._cooldown_seconds = cooldown_seconds
        self._first_cooldown_seconds = first_cooldown_seconds
        self._max_age_seconds = max_age_seconds
        self._keys: Mapping[str, K] = {}
        self._read_at = -float("inf")
        self._asked_at = -float("inf")
        self._asking: asyncio.Task[None] | None = None

    async def get(self, name: str) -> K | None:
        """The key of this name; None where the provider has none. ApiError 503 if none were ever read."""
        if name in self._keys:
            if time.monotonic() - self._read_at > self._max_age_seconds:
                self._ask()
            return self._keys[name]
        if task := self._ask():
            # One caller that gives up must not fail the others that wait for the same answer.
            await asyncio.shield(task)
        if not self._keys:
            raise unavailable("the keys of the identity provider cannot be read now; try again")
        return self._keys.get(name)

    def _ask(self) -> asyncio.Task[None] | None:
        """The request under way, begun now if there is none and one is due."""
        now = time.monotonic()
        cooldown = self._cooldown_seconds if self._keys else self._first_cooldown_seconds
        if self._asking is None and now - self._asked_at >= cooldown:
            self._asked_at = now
            self._asking = asyncio.create_task(self._renew(), context=Context())
        return self._asking

    async def _renew(self) -> None:
        try:
            keys = await self._fetch()
        except JwksError as error:
            log.warning("the identity provider's keys could not be read: %s", error)
        except Exception:
            log.exception("the identity provider's keys are of an unforeseen form")
        else:
            if keys:
                self._keys, self._read_at = keys, time.monotonic()
            else:
                log.warning("the identity provider has no key that tokens may be signed with")
        finally:
            self._asking = None
