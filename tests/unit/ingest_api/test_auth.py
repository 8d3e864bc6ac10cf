"""Who a request speaks for."""

import asyncio
import base64

import pytest

from ingest_api.auth import Authenticator, Caller
from ingest_api.errors import ApiError, unavailable
from kinstream.registry import ApiKey, create_key


class Registry:
    """Knows the keys that a test names, and counts how often it is asked."""

    def __init__(self, *texts: str) -> None:
        self.known = set(texts)
        self.asked = 0
        self.away = False

    async def has(self, key: ApiKey) -> bool:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise unavailable("away")
        return any(create_hash(text) == key.hash for text in self.known)


def create_hash(text: str) -> str:
    from kinstream.registry import parse_key

    return parse_key(text).hash


def bearer(text: str) -> bytes:
    return b"Bearer " + text.encode()


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{text}:".encode())


@pytest.mark.parametrize("header", [bearer, basic])
async def test_a_key_speaks_for_its_app(header):
    text, _ = create_key("app_one", "write")
    caller = await Authenticator(Registry(text).has).identify(header(text))
    assert caller == Caller("app_one", "write")


@pytest.mark.parametrize(
    "header", [b"", b"Bearer", b"Bearer nonsense", b"Basic %%%", b"Basic /w==", b"Digest x", b"Bearer \xff"]
)
async def test_what_is_no_key_is_unauthorized_without_a_look(header):
    registry = Registry()
    with pytest.raises(ApiError) as refusal:
        await Authenticator(registry.has).identify(header)
    assert refusal.value.status == 401
    assert registry.asked == 0


async def test_known_and_unknown_keys_are_looked_up_once():
    known, _ = create_key("a", "secret")
    unknown, _ = create_key("a", "secret")
    registry = Registry(known)
    authenticator = Authenticator(registry.has)
    for _ in range(3):
        await authenticator.identify(bearer(known))
        with pytest.raises(ApiError):
            await authenticator.identify(bearer(unknown))
    assert registry.asked == 2


async def test_requests_that_come_together_share_one_look():
    text, _ = create_key("a", "write")
    registry = Registry(text)
    authenticator = Authenticator(registry.has)
    await asyncio.gather(*(authenticator.identify(bearer(text)) for _ in range(20)))
    assert registry.asked == 1


async def test_a_revoked_key_stops_working_when_its_time_is_over():
    text, _ = create_key("a", "write")
    registry = Registry(text)
    authenticator = Authenticator(registry.has, cache_seconds=0)
    await authenticator.identify(bearer(text))
    registry.known.clear()
    await asyncio.sleep(0.001)
    with pytest.raises(ApiError):
        await authenticator.identify(bearer(text))


async def test_an_absent_registry_is_not_remembered_as_an_unknown_key():
    text, _ = create_key("a", "write")
    registry = Registry(text)
    registry.away = True
    authenticator = Authenticator(registry.has)
    with pytest.raises(ApiError) as refusal:
        await authenticator.identify(bearer(text))
    assert refusal.value.status == 503
    registry.away = False
    assert (await authenticator.identify(bearer(text))).app == "a"
