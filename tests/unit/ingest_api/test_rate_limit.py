"""How much a key may send: never more than rate and burst, whoever asks, and all while Redis is away."""

import asyncio
import random
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import redis.asyncio
from hypothesis import given
from hypothesis import strategies as st

from ingest_api import rate_limit
from ingest_api.errors import ApiError
from ingest_api.rate_limit import Limits, RateLimiter
from kinstream_devkit.embedded.emulator import HOST, free_port
from tests.support.network import NOBODYS_PORT
from tests.support.redis_server import redis_server

EMPTY_SECONDS = 1e-9
"""So low a rate that what is spent does not come back within a test."""


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Any]:
    async with redis.asyncio.Redis.from_url(redis_url) as client:
        yield client


def limiter(store: Any, limits: Limits, prefix: str | None = None, **options: Any) -> RateLimiter:
    return RateLimiter(
        store, prefix or uuid.uuid4().hex, "events", limits, **{"answer_seconds": 10} | options
    )


async def spent(limiter: RateLimiter, cost: int = 1, key: str = "key", limits: Limits | None = None) -> int:
    """`cost` where it was let through, else 0."""
    try:
        await limiter.spend(key, cost, limits)
    except ApiError as error:
        if error.code != "rate_limited":
            raise
        return 0
    return cost


async def until(condition: Callable[[], Awaitable[object]]) -> None:
    """Ask until it is so; the bound is for a hang."""
    for _ in range(1_000):
        if await condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came about")


class Counting:
    """Counts calls to Redis on their way."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.calls = 0

    def register_script(self, text: str) -> Any:
        script = self._store.register_script(text)

        async def call(**arguments: Any) -> Any:
            self.calls += 1
            return await script(**arguments)

        return call


async def test_a_hundred_at_once_get_the_burst_and_no_more(store):
    limits = Limits(EMPTY_SECONDS, 40)
    one = limiter(store, limits)
    assert sum(await asyncio.gather(*(spent(one) for _ in range(100)))) == 40


async def test_many_processes_at_once_get_the_burst_and_no_more_together(store):
    limits, prefix = Limits(EMPTY_SECONDS, 40), uuid.uuid4().hex
    processes = [limiter(store, limits, prefix) for _ in range(10)]
    draw = random.Random(3)
    asks = [spent(draw.choice(processes), draw.choice([1, 1, 2, 3])) for _ in range(200)]
    assert 38 <= sum(await asyncio.gather(*asks)) <= 40


async def test_in_no_stretch_of_time_do_processes_pass_more_than_rate_and_burst(store):
    limits, prefix = Limits(1_000.0, 1_000), uuid.uuid4().hex
    processes = [limiter(store, limits, prefix) for _ in range(4)]
    assert limits.slice > 1
    passed: list[tuple[float, float, int]] = []

    async def taker(number: int) -> None:
        draw = random.Random(number)
        for _ in range(150):
            # Between two of its requests a process may lie idle, with a slice in hand.
            await asyncio.sleep(draw.choice([0, 0, 0.001, 0.02]))
            asked_at, cost = time.monotonic(), draw.choice([1, 1, 20])
            if await spent(processes[number % 4], cost):
                passed.append((asked_at, time.monotonic(), cost))

    await asyncio.gather(*(taker(number) for number in range(12)))
    starts = sorted(passed)
    for first in range(0, len(starts), 7):
        begin = starts[first][0]
        total, last = 0, begin
        for asked_at, answered_at, cost in starts[first:]:
            total, last = total + cost, max(last, answered_at)
            assert total <= limits.burst + limits.per_second * (last - begin), (asked_at, total)
    assert sum(cost for *_, cost in passed) > limits.burst


async def test_a_busy_key_asks_redis_once_for_many_requests(store):
    counting = Counting(store)
    one = limiter(counting, Limits(100_000.0, 200_000))
    assert sum([await spent(one) for _ in range(5_000)]) == 5_000
    assert counting.calls < 100


async def test_a_refused_key_is_refused_again_without_a_look(store, monkeypatch):
    monkeypatch.setattr(rate_limit, "_REFUSAL_SECONDS", 60)
    counting = Counting(store)
    one = limiter(counting, Limits(EMPTY_SECONDS, 1))
    assert [await spent(one) for _ in range(50)] == [1] + [0] * 49
    assert counting.calls <= 4


async def test_what_is_spent_comes_back_with_time(store):
    one = limiter(store, Limits(100.0, 1))
    assert await spent(one) == 1
    await until(lambda: spent(one))


async def test_retry_after_says_when_as_much_will_be_there(store):
    one = limiter(store, Limits(0.5, 10))
    assert await spent(one, 10) == 10
    with pytest.raises(ApiError) as refusal:
        await one.spend("key", 4)
    assert 6 <= int(refusal.value.headers["Retry-After"]) <= 8


async def test_a_key_that_was_told_to_wait_is_refused_before_its_body_is_read(store, monkeypatch):
    monkeypatch.setattr(rate_limit, "_REFUSAL_SECONDS", 60)
    one = limiter(store, Limits(EMPTY_SECONDS, 1))
    one.check("key")
    await one.spend("key", 1)
    one.check("key")
    assert await spent(one) == 0
    with pytest.raises(ApiError) as refusal:
        one.check("key")
    assert refusal.value.code == "rate_limited"
    one.check("another key")


async def test_keys_and_units_do_not_share_an_allowance(store):
    prefix = uuid.uuid4().hex
    limits = Limits(EMPTY_SECONDS, 1)
    events, requests = (
        RateLimiter(store, prefix, unit, limits, answer_seconds=10) for unit in ("events", "requests")
    )
    assert [await spent(one, key=key) for one in (events, requests) for key in "ab"] == [1, 1, 1, 1]
    assert [await spent(one, key=key) for one in (events, requests) for key in "ab"] == [0, 0, 0, 0]


async def test_a_key_may_have_limits_of_its_own(store):
    one = limiter(store, Limits(EMPTY_SECONDS, 1))
    own = Limits(EMPTY_SECONDS, 5)
    assert [await spent(one, 5, "big", own), await spent(one, 1, "small")] == [5, 1]
    assert [await spent(one, 1, "big", own), await spent(one, 1, "small")] == [0, 0]


async def test_no_rate_is_no_limit(store):
    counting = Counting(store)
    one = limiter(counting, Limits(0, 1))
    assert sum([await spent(one, 1_000) for _ in range(50)]) == 50_000
    assert counting.calls == 0


async def test_a_request_that_can_never_pass_is_told_so(store):
    with pytest.raises(ApiError) as refusal:
        await limiter(store, Limits(1.0, 10)).spend("key", 11)
    assert (refusal.value.status, refusal.value.code) == (413, "too_many_events")
    assert refusal.value.detail == {"limit": 10}


async def test_a_debt_from_a_clock_that_was_set_back_does_not_bar_a_key_for_ever(store):
    prefix = uuid.uuid4().hex
    one = limiter(store, Limits(200.0, 2), prefix)
    await store.set(f"{prefix}:rate:events:key", (time.time_ns() // 1000) + 3_600_000_000)
    assert await spent(one) == 0
    await until(lambda: spent(one))


async def test_what_redis_holds_of_a_key_runs_out(store):
    prefix = uuid.uuid4().hex
    await limiter(store, Limits(0.01, 20), prefix).spend("key", 20)
    assert 1_900_000 < await store.pttl(f"{prefix}:rate:events:key") <= 2_000_001


async def test_without_redis_requests_pass_and_it_is_told():
    told: list[int] = []
    url = f"redis://{HOST}:{NOBODYS_PORT}/0"
    async with redis.asyncio.Redis.from_url(url) as absent:
        one = limiter(absent, Limits(EMPTY_SECONDS, 1), on_unavailable=lambda: told.append(1))
        assert sum(await asyncio.gather(*(spent(one) for _ in range(50)))) == 50
    assert len(told) == 50


async def test_a_redis_that_hangs_holds_up_the_first_requests_alone():
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, HOST, 0)
    port = server.sockets[0].getsockname()[1]
    async with server, redis.asyncio.Redis.from_url(f"redis://{HOST}:{port}/0") as hanging:
        counting = Counting(hanging)
        one = limiter(counting, Limits(1.0, 1), answer_seconds=0.25)
        one_hundred_keys = (spent(one, key=str(number)) for number in range(100))
        assert sum(await asyncio.gather(*one_hundred_keys)) == 100
        assert counting.calls <= 16
        assert sum([await spent(one, key=str(number)) for number in range(100)]) == 100
        assert counting.calls <= 16


async def test_limits_hold_again_once_redis_is_back():
    port = free_port()
    async with redis.asyncio.Redis.from_url(f"redis://{HOST}:{port}/0") as client:
        one = limiter(client, Limits(EMPTY_SECONDS, 1))
        assert sum([await spent(one) for _ in range(5)]) == 5

        async def refused() -> bool:
            return await spent(one) == 0

        with redis_server(port):
            await until(refused)


@given(st.floats(0, 1e7), st.integers(1, 10**7))
def test_what_slices_may_hold_is_set_aside_and_leaves_nine_tenths(per_second, burst):
    limits = Limits(per_second, burst)
    assert 0.9 * burst - 1 <= limits.at_once <= burst
    assert limits.slice <= burst - limits.at_once or limits.slice == 0
