"""Which tokens are believed, and what becomes of them when the identity provider changes or is away."""

import asyncio
import hmac
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import Any

import aiohttp
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from ingest_api.errors import ApiError
from ingest_api.jwks import MAX_JWKS_BYTES, JwksError, TrustedKeys, fetch_jwks
from ingest_api.settings import IngestSettings
from ingest_api.tokens import (
    LEEWAY_SECONDS,
    SigningKey,
    TokenRules,
    TokenVerifier,
    signing_keys,
    token_verifier,
)
from tests.support.oidc import APP, AUDIENCE, ISSUER, Signer, encoded, good_claims, handmade, provider

RULES = TokenRules(ISSUER, AUDIENCE, APP, None, "customer_id", "role")
SIGNER = Signer("ES256", "one")
FAR_AWAY = 4_000_000_000
"""In 2096."""


class Published:
    """The keys that a provider has now; counts how often it is asked."""

    def __init__(self, *signers: Signer) -> None:
        self.signers = signers
        self.asked = 0
        self.away = False

    async def read(self) -> Mapping[str, SigningKey]:
        self.asked += 1
        await asyncio.sleep(0)
        if self.away:
            raise JwksError("away")
        return signing_keys(signer.public for signer in self.signers)


def verifier(*signers: Signer, rules: TokenRules = RULES) -> TokenVerifier:
    return TokenVerifier(rules, TrustedKeys(Published(*signers or (SIGNER,)).read))


async def refusal(token: str, *signers: Signer, rules: TokenRules = RULES) -> ApiError:
    with pytest.raises(ApiError) as error:
        await verifier(*signers, rules=rules).verify(token)
    assert error.value.status == 401
    return error.value


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_a_token_speaks_for_a_person_of_a_customer_of_an_app(algorithm):
    signer = Signer(algorithm)
    identity = await verifier(signer).verify(signer.token(sub="kid-1", customer_id="fam-7", role="child"))
    assert (identity.app, identity.customer_id, identity.person_id, identity.role) == (
        APP,
        "fam-7",
        "kid-1",
        "child",
    )
    assert 600 <= identity.expires_in_seconds <= 600 + LEEWAY_SECONDS


async def test_claims_may_have_other_names_and_one_may_name_the_app():
    rules = TokenRules(ISSUER, AUDIENCE, None, "app", "https://example.org/family", "custom:role")
    claims = {"customer_id": None, "role": None, "app": "photos"}
    claims |= {"https://example.org/family": "fam-2", "custom:role": "guardian"}
    identity = await verifier(rules=rules).verify(SIGNER.token(**claims))
    assert (identity.app, identity.customer_id, identity.role) == ("photos", "fam-2", "guardian")


async def test_a_token_may_be_for_several_audiences():
    assert await verifier().verify(SIGNER.token(aud=["another", AUDIENCE]))


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"exp": int(time.time()) - 61}, "token_expired"),
        ({"aud": "another"}, "invalid_token"),
        ({"aud": ["another"]}, "invalid_token"),
        ({"iss": "https://id.example.com/"}, "invalid_token"),
        ({"iss": ISSUER + "/"}, "invalid_token"),
        ({"nbf": FAR_AWAY}, "invalid_token"),
        ({"iat": FAR_AWAY}, "invalid_token"),
        ({"exp": None}, "invalid_token"),
        ({"aud": None}, "invalid_token"),
        ({"iss": None}, "invalid_token"),
        ({"sub": None}, "invalid_token"),
        ({"exp": "soon"}, "invalid_token"),
        ({"exp": 1e999}, "invalid_token"),
        ({"sub": ""}, "invalid_token"),
        ({"sub": "p" * 129}, "invalid_token"),
        ({"customer_id": None}, "invalid_token"),
        ({"customer_id": 7}, "invalid_token"),
        ({"customer_id": ["fam-1"]}, "invalid_token"),
        ({"customer_id": ""}, "invalid_token"),
        ({"role": None}, "invalid_token"),
        ({"role": "admin"}, "invalid_token"),
        ({"role": ["guardian"]}, "invalid_token"),
    ],
)
async def test_a_token_that_does_not_say_what_it_must_is_refused(claims, code):
    assert (await refusal(SIGNER.token(**claims))).code == code


@pytest.mark.parametrize(
    ("seconds", "good"), [(-LEEWAY_SECONDS + 5, True), (-LEEWAY_SECONDS - 5, False), (-61, False)]
)
async def test_clocks_may_differ_by_the_leeway_and_no_more(seconds, good):
    token = SIGNER.token(exp=int(time.time() + seconds))
    if good:
        assert await verifier().verify(token)
    else:
        assert (await refusal(token)).code == "token_expired"


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "HS256", "HS512"])
async def test_an_algorithm_without_a_public_key_is_refused(algorithm):
    header = {"alg": algorithm, "typ": "JWT", "kid": SIGNER.name}
    assert (await refusal(handmade(header, good_claims()))).code == "invalid_token"


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_a_token_signed_with_the_public_key_as_a_secret_is_refused(algorithm):
    signer = Signer(algorithm)
    for secret in (signer.public_pem, signer.public_pem.strip(), json.dumps(signer.public).encode()):
        unsigned = handmade({"alg": "HS256", "typ": "JWT", "kid": signer.name}, good_claims())[:-1]
        signature = hmac.new(secret, unsigned.encode(), sha256).digest()
        assert (await refusal(f"{unsigned}.{encoded(signature)}", signer)).code == "invalid_token"


async def test_a_key_takes_its_own_algorithm_alone():
    mine = Signer("RS256", "shared name")
    assert (await refusal(Signer("ES256", "shared name").token(), mine)).code == "invalid_token"
    assert (await refusal(Signer("RS256", "shared name").token(), mine)).code == "invalid_token"


@pytest.mark.parametrize("name", ["jwk", "jku", "x5u", "x5c"])
async def test_what_a_token_says_of_its_own_key_is_not_looked_at(name):
    with provider(stranger := Signer("ES256", "stranger")) as theirs:
        said = {"jwk": stranger.public, "jku": theirs.url, "x5u": theirs.url, "x5c": ["MIIB"]}[name]
        named_as_ours = stranger.token({name: said, "kid": SIGNER.name})
        assert (await refusal(named_as_ours)).code == "invalid_token"
        assert (await refusal(stranger.token({name: said}))).code == "invalid_token"
        assert theirs.asked == 0
        assert await verifier().verify(SIGNER.token({name: said}))


async def test_an_extension_that_must_be_understood_is_not_passed_over():
    assert (await refusal(SIGNER.token({"crit": ["exp2"], "exp2": 1}))).code == "invalid_token"


@given(
    st.text(max_size=60).filter(lambda text: text.count(".") != 2)
    | st.text(max_size=20).map(lambda text: f"{text}.{text}.{text}")
)
@example(encoded(b"[" * 5_000) + ".e30.")
@example(encoded(b'{"alg":"ES256","kid":' + b"9" * 5_000 + b"}") + ".e30.")
@example(handmade({"alg": "ES256", "kid": "one", "b64": False, "crit": ["b64"]}, {}))
@example(handmade({"alg": "ES256", "kid": {"a": 1}}, {}))
@example(handmade({"alg": ["ES256"], "kid": "one"}, {}))
@example(handmade({"alg": "ES256"}, {}))
@example("a" * 9_000)
async def test_what_is_no_token_is_refused_and_breaks_nothing(text):
    assert (await refusal(text)).code == "invalid_token"


async def test_a_signed_body_that_is_no_object_is_refused():
    for body in (b"[" * 3_000, b"[]", b"1", b"\xff"):
        head = encoded(json.dumps({"alg": "EdDSA", "kid": "ed"}).encode()) + "." + encoded(body)
        signer = Signer("EdDSA", "ed")
        signed = f"{head}.{encoded(signer.private.sign(head.encode()))}"
        assert (await refusal(signed, signer)).code == "invalid_token"


def test_only_public_keys_for_signatures_of_the_three_kinds_are_trusted():
    good = Signer("RS256", "good").public
    weak = Signer("RS256", "weak", rsa_bits=1_024).public
    odd: list[dict[str, Any]] = [
        {"kty": "oct", "kid": "secret", "k": encoded(b"k" * 32)},
        good | {"kid": "for encryption", "use": "enc"},
        good | {"kid": "another algorithm", "alg": "PS256"},
        good | {"kid": "private", "d": "AQAB"},
        good | {"kid": "broken", "n": 5},
        good | {"kid": "without", "n": None},
        {"kty": "EC", "kid": "no point", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": "OKP", "kid": "448", "crv": "Ed448", "x": "AA"},
        {name: value for name, value in good.items() if name != "kid"},
        {},
        weak,
    ]
    assert set(signing_keys([*odd, good])) == {"good"}


async def test_a_new_key_is_found_and_a_withdrawn_one_forgotten():
    old, new = Signer(name="old"), Signer(name="new")
    published = Published(old)
    rotating = TokenVerifier(RULES, TrustedKeys(published.read, cooldown_seconds=0))
    assert await rotating.verify(old.token())
    published.signers = (old, new)
    assert await rotating.verify(new.token())
    assert await rotating.verify(old.token())
    published.signers = (new,)
    with pytest.raises(ApiError):
        await rotating.verify(Signer(name="never published").token())
    with pytest.raises(ApiError) as error:
        await rotating.verify(old.token())
    assert error.value.code == "invalid_token"


async def test_a_withdrawn_key_is_forgotten_in_time_without_any_unknown_one():
    old, new = Signer(name="old"), Signer(name="new")
    published = Published(old)
    keys = TrustedKeys(published.read, cooldown_seconds=0, max_age_seconds=0)
    assert await keys.get("old")
    published.signers = (new,)
    for _ in range(1_000):
        if await keys.get("old") is None:
            break
        await asyncio.sleep(0)
    assert await keys.get("old") is None
    assert await keys.get("new")


async def test_a_flood_of_unknown_keys_asks_the_provider_once():
    published = Published(SIGNER)
    flooded = TokenVerifier(RULES, TrustedKeys(published.read))
    assert await flooded.verify(SIGNER.token())
    tokens = [Signer(name=str(number)).token() for number in range(30)]
    answers = await asyncio.gather(*(flooded.verify(token) for token in tokens), return_exceptions=True)
    assert [getattr(answer, "code", None) for answer in answers] == ["invalid_token"] * 30
    assert published.asked == 1


async def test_an_unknown_key_is_asked_for_again_once_the_cooldown_is_over():
    published = Published(SIGNER)
    keys = TrustedKeys(published.read, cooldown_seconds=0.05)
    assert await keys.get(SIGNER.name)
    await asyncio.sleep(0.06)
    await asyncio.gather(*(keys.get(str(number)) for number in range(20)))
    assert published.asked == 2


async def test_the_last_keys_serve_while_the_provider_is_away():
    published = Published(SIGNER)
    keys = TrustedKeys(published.read, cooldown_seconds=0, max_age_seconds=0)
    left = TokenVerifier(RULES, keys)
    assert await left.verify(SIGNER.token())
    published.away = True
    for _ in range(3):
        assert await left.verify(SIGNER.token())
        with pytest.raises(ApiError) as error:
            await left.verify(Signer(name="unknown").token())
        assert error.value.status == 401
    published.away, published.signers = False, ()
    with pytest.raises(ApiError):
        await left.verify(Signer(name="unknown").token())
    assert await left.verify(SIGNER.token())


async def test_without_any_keys_ever_read_it_is_our_trouble_and_not_the_tokens():
    published = Published(SIGNER)
    published.away = True
    starting = TokenVerifier(RULES, TrustedKeys(published.read, first_cooldown_seconds=0))
    with pytest.raises(ApiError) as error:
        await starting.verify(SIGNER.token())
    assert (error.value.status, error.value.code) == (503, "unavailable")
    published.away = False
    assert await starting.verify(SIGNER.token())


async def test_a_provider_of_an_unforeseen_form_leaves_what_was_read():
    async def broken() -> Mapping[str, SigningKey]:
        raise KeyError("keys")

    with pytest.raises(ApiError) as error:
        await TrustedKeys(broken).get("one")
    assert error.value.status == 503


@asynccontextmanager
async def browsing() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        yield http


async def test_keys_are_read_over_http():
    with provider(SIGNER) as running:
        async with browsing() as http:
            settings = IngestSettings(
                oidc_issuer=ISSUER, oidc_audience=AUDIENCE, oidc_jwks_url=running.url, oidc_app=APP
            )
            configured = token_verifier(settings, http)
            assert configured
            assert (await configured.verify(SIGNER.token())).customer_id == "fam-1"
            assert (await configured.verify(SIGNER.token())).app == APP
        assert running.asked == 1


async def test_an_answer_that_is_not_the_keys_is_an_error():
    with provider(SIGNER) as running:
        good = running.body
        async with browsing() as http:
            for status, body, headers in [
                (500, good, {}),
                (302, b"", {"Location": running.url}),
                (200, b"[" * 10_000, {}),
                (200, b"{}", {}),
                (200, b'{"keys": [1]}', {}),
                (200, b"\xff", {}),
                (200, good + b" " * MAX_JWKS_BYTES, {}),
            ]:
                running.status, running.body, running.headers = status, body, headers
                with pytest.raises(JwksError):
                    await fetch_jwks(http, running.url)
            running.status, running.body, running.headers = 200, good, {}
            assert len(await fetch_jwks(http, running.url)) == 1
    async with browsing() as http:
        with pytest.raises(JwksError):
            await fetch_jwks(http, running.url)


async def test_tokens_are_off_unless_an_issuer_is_named():
    async with browsing() as http:
        assert token_verifier(IngestSettings(), http) is None
        assert (
            token_verifier(IngestSettings(oidc_issuer="", oidc_audience="", oidc_jwks_url=""), http) is None
        )


@pytest.mark.parametrize(
    "settings",
    [
        {"oidc_issuer": ISSUER},
        {"oidc_issuer": ISSUER, "oidc_audience": "a", "oidc_app": APP},
        {"oidc_issuer": ISSUER, "oidc_audience": "a", "oidc_jwks_url": "https://id.example.org/keys"},
        {
            "oidc_issuer": ISSUER,
            "oidc_audience": "a",
            "oidc_jwks_url": "http://id.example.org/k",
            "oidc_app": "a",
        },
        {"oidc_issuer": ISSUER, "oidc_audience": "a", "oidc_jwks_url": "file:///etc/keys", "oidc_app": "a"},
        {
            "oidc_issuer": "i",
            "oidc_audience": "a",
            "oidc_jwks_url": "https://k",
            "oidc_app": "a",
            "oidc_app_claim": "b",
        },
    ],
)
def test_half_a_description_of_the_provider_is_refused_at_the_start(settings):
    with pytest.raises(ValidationError):
        IngestSettings(**settings)
