"""Who a request speaks for, and what that caller may do."""

import asyncio
import base64
import time

import pytest

from ingest_api.auth import Authenticator, Caller
from ingest_api.errors import ApiError, unavailable
from ingest_api.jwks import TrustedKeys
from ingest_api.tokens import TokenRules, TokenVerifier, signing_keys
from kinstream.registry import ApiKey, create_key, parse_key
from tests.support.oidc import APP, AUDIENCE, ISSUER, Signer

SIGNER = Signer("ES256")


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
        return any(parse_key(text).hash == key.hash for text in self.known)


def bearer(text: str) -> bytes:
    return b"Bearer " + text.encode()


def basic(text: str) -> bytes:
    return b"Basic " + base64.b64encode(f"{text}:".encode())


class Reads:
    """A rate limit that lets so many through, and notes whose they were."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.keys: list[str] = []

    async def spend(self, key_id: str, cost: int) -> None:
        self.keys.append(key_id)
        if len(self.keys) * cost > self.most:
            raise ApiError(429, "rate_limited", "slow down")


class Verifier(TokenVerifier):
    """Counts how often a token is really looked at."""

    looked = 0

    async def verify(self, token: str):
        self.looked += 1
        return await super().verify(token)


def tokens() -> Verifier:
    async def published():
        return signing_keys([SIGNER.public])

    rules = TokenRules(ISSUER, AUDIENCE, APP, None, "customer_id", "role")
    return Verifier(rules, TrustedKeys(published))


@pytest.mark.parametrize("header", [bearer, basic])
async def test_a_key_speaks_for_its_app(header):
    text, _ = create_key("app_one", "write")
    caller = await Authenticator(Registry(text).has).identify(header(text))
    assert caller == Caller("app_one", "write", parse_key(text).hash[:16])


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


async def test_a_write_key_may_not_read():
    text, _ = create_key("a", "write")
    authenticator = Authenticator(Registry(text).has)
    assert (await authenticator.declarer(bearer(text))).kind == "write"
    with pytest.raises(ApiError) as refusal:
        await authenticator.reader(bearer(text))
    assert (refusal.value.status, refusal.value.code) == (403, "secret_key_required")


async def test_a_secret_key_reads_every_customer_of_its_app_as_a_guardian_would():
    text, _ = create_key("a", "secret")
    caller = await Authenticator(Registry(text).has).reader(bearer(text))
    caller.require_customer("any")
    caller.require_guardian()


async def test_a_token_reads_its_own_customer_alone_and_sends_nothing():
    authenticator = Authenticator(Registry().has, tokens=tokens())
    header = bearer(SIGNER.token(customer_id="fam-1"))
    caller = await authenticator.reader(header)
    assert (caller.app, caller.kind, caller.person_id, caller.role) == (APP, "token", "parent-1", "guardian")
    caller.require_customer("fam-1")
    caller.require_guardian()
    for stranger in ("fam-2", "", "fam-1 ", "FAM-1"):
        with pytest.raises(ApiError) as refusal:
            caller.require_customer(stranger)
        assert (refusal.value.status, refusal.value.code) == (404, "not_found")
    with pytest.raises(ApiError) as refusal:
        await authenticator.identify(header)
    assert (refusal.value.status, refusal.value.code) == (403, "key_required")


async def test_a_childs_token_is_no_guardians():
    caller = await Authenticator(Registry().has, tokens=tokens()).reader(bearer(SIGNER.token(role="child")))
    with pytest.raises(ApiError) as refusal:
        caller.require_guardian()
    assert (refusal.value.status, refusal.value.code) == (403, "guardian_required")


async def test_a_token_is_looked_at_once_and_never_remembered_beyond_its_end():
    looking = tokens()
    authenticator = Authenticator(Registry().has, tokens=looking)
    for _ in range(5):
        await authenticator.reader(bearer(SIGNER.token(exp=2_000_000_000, iat=None)))
    # Each signature of ES256 is another, so these are five tokens.
    assert looking.looked == 5
    same = bearer(SIGNER.token())
    for _ in range(5):
        await authenticator.reader(same)
    assert looking.looked == 6
    ending = bearer(SIGNER.token(exp=int(time.time()) - 27, iat=None))
    await authenticator.reader(ending)
    await asyncio.sleep(3.1)
    with pytest.raises(ApiError) as refusal:
        await authenticator.reader(ending)
    assert refusal.value.code == "token_expired"


async def test_a_token_is_no_key_where_no_issuer_is_configured():
    registry = Registry()
    with pytest.raises(ApiError) as refusal:
        await Authenticator(registry.has).reader(bearer(SIGNER.token()))
    assert refusal.value.code == "unknown_key"
    assert registry.asked == 0


async def test_a_token_as_a_password_or_too_long_is_refused():
    authenticator = Authenticator(Registry().has, tokens=tokens())
    for header, code in [
        (basic(SIGNER.token()), "unknown_key"),
        (bearer("a.b.c" * 3_000), "unknown_key"),
        (bearer(SIGNER.token(padding="x" * 8_000)), "invalid_token"),
        (bearer("..\xff"), "invalid_token"),
    ]:
        with pytest.raises(ApiError) as refusal:
            await authenticator.reader(header)
        assert refusal.value.code == code


async def test_an_app_with_dots_in_its_name_still_has_keys():
    text, _ = create_key("com.example.app", "secret")
    assert (
        await Authenticator(Registry(text).has, tokens=tokens()).reader(bearer(text))
    ).app == "com.example.app"


async def test_reading_and_declaring_are_counted_by_key_and_by_person_and_sending_is_not():
    text, key = create_key("a", "secret")
    reads = Reads(4)
    authenticator = Authenticator(Registry(text).has, tokens=tokens(), reads=reads)
    await authenticator.identify(bearer(text))
    await authenticator.reader(bearer(text))
    await authenticator.declarer(basic(text))
    for person in ("parent-1", "parent-1"):
        await authenticator.reader(bearer(SIGNER.token(sub=person)))
    with pytest.raises(ApiError) as refusal:
        await authenticator.reader(bearer(SIGNER.token(sub="parent-2")))
    assert refusal.value.status == 429
    mine, also_mine, one, same, another = reads.keys
    assert mine == also_mine == key.hash[:16]
    assert len({mine, one, another}) == 3
    assert one == same


async def test_a_caller_that_is_nobody_costs_no_allowance():
    reads = Reads(10)
    authenticator = Authenticator(Registry().has, tokens=tokens(), reads=reads)
    for header in (b"", b"Bearer nonsense", bearer(create_key("a", "secret")[0])):
        with pytest.raises(ApiError):
            await authenticator.reader(header)
    assert reads.keys == []
