"""Handing on what Redis tells: nobody misses anything in silence, whoever comes and whatever Redis does."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from ingest_api.errors import ApiError
from ingest_api.live_hub import Listener, LiveHub, StreamBounds
from kinstream import live
from tests.support.network import proxy

WAIT_SECONDS = 60


def client(url: str) -> Any:
    return redis.asyncio.Redis.from_url(
        url, socket_timeout=30, socket_connect_timeout=30, retry=Retry(NoBackoff(), 0)
    )


@pytest.fixture
async def store(redis_url: str) -> AsyncIterator[Any]:
    async with client(redis_url) as made:
        yield made


@pytest.fixture
async def hub(store: Any, name_prefix: str) -> AsyncIterator[LiveHub]:
    made = LiveHub(
        store,
        name_prefix,
        StreamBounds(waiting_events=15, listeners_of_customer=50, answer_seconds=WAIT_SECONDS),
    )
    yield made
    await made.close()


@pytest.fixture
def publish(store: Any, name_prefix: str) -> Callable[..., Any]:
    async def tell(customer_id: str, number: int) -> None:
        told = live.encode(live.Told("media.progress", {"number": number}))
        await store.publish(live.channel(name_prefix, "demo", customer_id), told)

    return tell


async def heard(listener: Listener) -> bytes:
    frame = await listener.next(WAIT_SECONDS)
    assert frame is not None
    return frame


async def until_ended(listener: Listener) -> None:
    async with asyncio.timeout(WAIT_SECONDS):
        while listener.ending is None:
            await listener.next(WAIT_SECONDS)


async def test_listeners_that_come_and_go_in_any_order_miss_nothing(hub, publish, store, name_prefix):
    chance = random.Random(7)
    customers = ["fam-1", "fam-2", "fam-3"]

    async def come_and_go() -> None:
        for _ in range(15):
            customer_id = chance.choice(customers)
            listener = await hub.listen("demo", customer_id)
            number = chance.randrange(10**9)
            await publish(customer_id, number)
            while b"%d}" % number not in await heard(listener):
                pass
            hub.leave(listener)

    await asyncio.gather(*(come_and_go() for _ in range(4)))
    assert hub.listeners == 0
    for _ in range(1_000):
        channels = await store.pubsub_channels(f"{name_prefix}:live:*")
        if not channels:
            break
        await asyncio.sleep(0.01)
    assert channels == []


async def test_one_that_gives_up_while_it_waits_leaves_the_others_alone(hub, publish):
    tasks = [asyncio.create_task(hub.listen("demo", "fam-1")) for _ in range(6)]
    await asyncio.sleep(0)
    tasks[0].cancel()
    listeners = await asyncio.gather(*tasks[1:])
    await publish("fam-1", 1)
    assert all([b"number" in await heard(listener) for listener in listeners])


async def test_one_that_does_not_read_ends_and_the_others_go_on(hub, publish):
    slow, quick = await hub.listen("demo", "fam-1"), await hub.listen("demo", "fam-1")
    for number in range(20):
        await publish("fam-1", number)
        await heard(quick)
    assert slow.ending == "too_slow"
    assert await slow.next(WAIT_SECONDS) is None
    assert quick.ending is None


async def test_something_else_on_the_channel_is_passed_over(hub, publish, store, name_prefix):
    listener = await hub.listen("demo", "fam-1")
    for junk in (b"junk", b"\xff", b"[]", b'["other.kind", {}]', b'["media.ready\\ndata: x", {}]'):
        await store.publish(live.channel(name_prefix, "demo", "fam-1"), junk)
    await publish("fam-1", 1)
    assert await heard(listener) == b'event: media.progress\ndata: {"number":1}\n\n'


@pytest.mark.parametrize("trouble", ["blackhole", "reset", "down"])
async def test_listeners_end_when_redis_falls_silent_and_new_ones_hear_again(
    redis_url, name_prefix, publish, trouble
):
    with proxy(redis_url) as wire:
        async with client(wire.url.replace("http", "redis")) as store:
            hub = LiveHub(store, name_prefix, StreamBounds(quiet_seconds=1))
            listener = await hub.listen("demo", "fam-1")
            await asyncio.to_thread(wire.cut, trouble)
            await until_ended(listener)
            assert listener.ending == "unavailable"
            with pytest.raises(ApiError) as told:
                await hub.listen("demo", "fam-1")
            assert (told.value.status, "Retry-After" in told.value.headers) == (503, True)
            await asyncio.to_thread(wire.mend)
            again = await hub.listen("demo", "fam-1")
            await publish("fam-1", 1)
            assert b"number" in await heard(again)
            await hub.close()
            assert again.ending == "stopping"
            with pytest.raises(ApiError):
                await hub.listen("demo", "fam-1")
