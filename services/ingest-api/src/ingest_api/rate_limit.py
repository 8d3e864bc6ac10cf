"""How much a key may send or ask: GCRA (the generic cell rate algorithm), kept in Redis for all processes.

A call to Redis for each request would cost more than the request. So a process takes what a key will
spend in the next moment at its present pace, a slice, and spends it alone; what is left of a slice soon
runs out. What slices may hold is set aside from the burst, so that over all processes and any t seconds
no more than `per_second * t + burst` pass.

When Redis is away, requests pass, `on_unavailable` is told of each, and none but the first waits for it.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from redis.exceptions import RedisError

from ingest_api.errors import ApiError

log = logging.getLogger(__name__)

SLICE_SECONDS = 0.05
"""How far ahead of its present pace a process takes."""
SLICE_LIFE_SECONDS = 0.1
_PROBE_SECONDS = 1.0
_SHORTEST_PACE_SECONDS = 0.005
_REFUSAL_SECONDS = 0.1
"""For so long a refusal is repeated without a look at Redis; longer, and a large request would bar a small
one that might pass."""
_MAX_KEYS = 10_000
_MAX_CALLS = 16

_TAKE = """
-- KEYS[1]: when the key's debt is paid, in microseconds since 1970 (GCRA's theoretical arrival time).
-- ARGV: microseconds that one costs, how many at once, how many are needed, how many are wanted.
-- Answers {granted, microseconds until as many as are needed will be there}.
local cost, burst, need, want = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local function keep(debt)
  redis.call('SET', KEYS[1], string.format('%.0f', now + debt), 'PX', math.ceil(debt / 1000) + 1)
end
local debt = math.max(0, tonumber(redis.call('GET', KEYS[1]) or '0') - now)
local most = math.ceil(burst * cost)
if debt > most then
  -- The clock was set back, or the limit was lowered.
  debt = most
  keep(debt)
end
local there = math.floor((burst * cost - debt) / cost + 1e-9)
if there < need then
  return {0, math.ceil(debt + (need - burst) * cost)}
end
local granted = math.min(want, there)
keep(math.ceil(debt + granted * cost))
return {granted, 0}
"""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a key may spend. `per_second` 0 is no limit; `burst` is what a quiet key may spend at once."""

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if self.per_second < 0 or self.burst < 1:
            raise ValueError("a rate is no less than 0 and a burst no less than 1")

    @property
    def slice(self) -> int:
        """The most that a process takes ahead; 0 where the rate is too low for it to pay."""
        ahead = int(self.per_second * SLICE_SECONDS)
        # No more than a tenth of the burst is set aside.
        return ahead if ahead > 1 and self.per_second * SLICE_LIFE_SECONDS * 10 <= self.burst else 0

    @property
    def at_once(self) -> int:
        """The burst without what slices may hold."""
        return self.burst - math.ceil(self.per_second * SLICE_LIFE_SECONDS) if self.slice else self.burst


@dataclass(slots=True)
class _Purse:
    """What this process holds of a key's allowance."""

    left: int = 0
    expires_at: float = 0.0
    refused_until: float = 0.0
    retry_at: float = 0.0
    spent: int = 0
    """Since `filled_at`."""
    filled_at: float = 0.0
    waiting: int = 0
    """What requests that wait for the lock will spend."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    def take(self, cost: int, now: float) -> bool:
        if self.left < cost or now >= self.expires_at:
            return False
        self.left -= cost
        self.spent += cost
        return True

    def wanted(self, most: int, now: float) -> int:
        """What the next moment will need, judged by what was spent since the last time."""
        past_seconds = max(now - self.filled_at, _SHORTEST_PACE_SECONDS)
        return min(most, int(self.spent * SLICE_SECONDS / past_seconds))


class RateLimiter:
    """Spends the allowance of keys, in one unit: events, say, or requests."""

    def __init__(
        self,
        redis: Any,
        name_prefix: str,
        unit: str,
        limits: Limits,
        on_unavailable: Callable[[], object] = lambda: None,
        *,
        answer_seconds: float = 0.25,
    ) -> None:
        self._redis = redis
        self._script = redis.register_script(_TAKE)
        self._name = f"{name_prefix}:rate:{unit}:"
        self._unit = unit
        self._limits = limits
        self._on_unavailable = on_unavailable
        self._answer_seconds = answer_seconds
        self._purses: dict[str, _Purse] = {}
        self._calls = asyncio.Semaphore(_MAX_CALLS)
        self._away = False
        self._probe: asyncio.Task[None] | None = None
        self._probe_at = 0.0

    def check(self, key_id: str) -> None:
        """429 where the key was told a moment ago to wait: a look before its body is read."""
        purse = self._purses.get(key_id)
        if purse and (now := time.monotonic()) < purse.refused_until and not self._away:
            raise self._limited(purse, now)

    async def spend(self, key_id: str, cost: int, limits: Limits | None = None) -> None:
        """Return once the key may spend so much; ApiError 429 where it may not now, 413 where never.

        Most calls return without waiting for anything. `limits` are the key's own, where it has any.
        """
        limits = limits or self._limits
        if limits.per_second == 0:
            return
        purse = self._purses.get(key_id) or self._new_purse(key_id)
        if purse.take(cost, time.monotonic()):
            return
        if cost > limits.at_once:
            raise self._never(limits)
        purse.waiting += cost
        try:
            async with purse.lock:
                await self._fill(purse, key_id, cost, limits)
        finally:
            purse.waiting -= cost

    def _new_purse(self, key_id: str) -> _Purse:
        if len(self._purses) >= _MAX_KEYS:
            # What is forgotten with it was never spent.
            del self._purses[next(iter(self._purses))]
        return self._purses.setdefault(key_id, _Purse())

    async def _fill(self, purse: _Purse, key_id: str, cost: int, limits: Limits) -> None:
        now = time.monotonic()
        if purse.take(cost, now):
            return
        if self._is_away(now):
            self._on_unavailable()
            return
        if now < purse.refused_until:
            raise self._limited(purse, now)
        # What is left goes first, so that nothing lives longer than its slice.
        left = purse.left if now < purse.expires_at else 0
        need = cost - left
        want = max(need, min(purse.waiting, limits.slice) - left, purse.wanted(limits.slice, now))
        try:
            granted, wait_us = await self._ask(key_id, limits, need, want)
        except (RedisError, OSError, TimeoutError) as error:
            self._note_away(error)
            self._on_unavailable()
            return
        if granted == 0:
            now = time.monotonic()
            purse.retry_at = now + wait_us / 1e6
            purse.refused_until = min(purse.retry_at, now + _REFUSAL_SECONDS)
            raise self._limited(purse, now)
        purse.left, purse.spent = granted - need, cost
        purse.filled_at, purse.expires_at = now, now + SLICE_LIFE_SECONDS

    async def _ask(self, key_id: str, limits: Limits, need: int, want: int) -> tuple[int, int]:
        arguments = [repr(1e6 / limits.per_second), limits.at_once, need, want]
        async with self._calls:
            if self._away:
                raise ConnectionError("found out while this call waited for its turn")
            async with asyncio.timeout(self._answer_seconds):
                granted, wait_us = await self._script(keys=[self._name + key_id], args=arguments)
        return int(granted), int(wait_us)

    def _is_away(self, now: float) -> bool:
        if self._away and self._probe is None and now >= self._probe_at:
            self._probe_at = now + _PROBE_SECONDS
            self._probe = asyncio.create_task(self._look(), context=Context())
        return self._away

    async def _look(self) -> None:
        try:
            async with asyncio.timeout(self._answer_seconds):
                await self._redis.ping()
        except (RedisError, OSError, TimeoutError):
            return
        finally:
            self._probe = None
        self._away = False
        log.warning("Redis is back: %s are limited again", self._unit)

    def _note_away(self, error: Exception) -> None:
        self._probe_at = time.monotonic() + _PROBE_SECONDS
        if not self._away:
            self._away = True
            problem = {"error": type(error).__name__}
            log.warning("Redis does not answer: %s pass unlimited", self._unit, extra=problem)

    def _limited(self, purse: _Purse, now: float) -> ApiError:
        seconds = max(1, math.ceil(purse.retry_at - now))
        return ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            "rate_limited",
            f"this key has used up its {self._unit} for now; send the same again after Retry-After seconds",
            headers={"Retry-After": str(seconds)},
        )

    def _never(self, limits: Limits) -> ApiError:
        return ApiError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "too_many_events",
            f"this key may spend at most {limits.at_once:,} {self._unit} at once; send fewer",
            {"limit": limits.at_once},
        )
