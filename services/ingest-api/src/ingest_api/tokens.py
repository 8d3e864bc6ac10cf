"""OIDC tokens: who a JWT of the configured identity provider speaks for. PyJWT is used here alone.

The provider's key decides the algorithm, never the token: a key of RSA takes RS256 and nothing else.
What a token says of its own key beside the key's name (`jwk`, `jku`, `x5u`, `x5c`) is not looked at.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Literal, cast

import aiohttp
import jwt

from ingest_api.errors import ApiError
from ingest_api.jwks import TrustedKeys, fetch_jwks
from ingest_api.settings import IngestSettings

Role = Literal["guardian", "child"]

MAX_TOKEN_BYTES = 8 * 1024
LEEWAY_SECONDS = 30.0
"""How far the provider's clock and ours may differ; 60 is the most that is safe."""

_MIN_RSA_BITS = 2_048
_MAX_ID_LENGTH = 128
_ALGORITHMS = {("RSA", None): "RS256", ("EC", "P-256"): "ES256", ("OKP", "Ed25519"): "EdDSA"}
_REQUIRED = ("exp", "aud", "iss", "sub")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A public key and the one algorithm that it is for."""

    algorithm: str
    key: Any


@dataclass(frozen=True, slots=True)
class TokenRules:
    """What a token must say. One of `app` and `app_claim` is set."""

    issuer: str
    audience: str
    app: str | None
    app_claim: str | None
    customer_claim: str
    role_claim: str


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a token speaks for, and for how long it may be remembered."""

    app: str
    customer_id: str
    person_id: str
    role: Role
    expires_in_seconds: float


class TokenVerifier:
    """Reads tokens of one issuer for one audience."""

    def __init__(self, rules: TokenRules, keys: TrustedKeys[SigningKey]) -> None:
        self._rules = rules
        self._keys = keys

    async def verify(self, token: str) -> Identity:
        """Whom it speaks for. ApiError 401 where it must not be believed, 503 where no key was ever read."""
        if len(token) > MAX_TOKEN_BYTES:
            raise _invalid("the token is too long")
        key = await self._keys.get(_key_name(token))
        if key is None:
            raise _invalid("the token is signed with a key that the identity provider does not have")
        try:
            claims = jwt.decode(
                token,
                key=key.key,
                algorithms=[key.algorithm],
                issuer=self._rules.issuer,
                audience=self._rules.audience,
                leeway=LEEWAY_SECONDS,
                options={"require": list(_REQUIRED)},
            )
        except jwt.ExpiredSignatureError as error:
            raise _unauthorized("token_expired", "the token has expired; get a new one") from error
        except (jwt.PyJWTError, ValueError, OverflowError, TypeError, RecursionError) as error:
            raise _invalid(_REASONS.get(type(error), "the token is not valid")) from error
        return self._identity(claims)

    def _identity(self, claims: Mapping[str, Any]) -> Identity:
        rules = self._rules
        role = claims.get(rules.role_claim)
        if role not in ("guardian", "child"):
            raise _invalid(f"the token's claim {rules.role_claim} must be guardian or child")
        return Identity(
            app=rules.app or _text(claims, rules.app_claim or ""),
            customer_id=_text(claims, rules.customer_claim),
            person_id=_text(claims, "sub"),
            role=cast(Role, role),
            expires_in_seconds=float(claims["exp"]) + LEEWAY_SECONDS - time.time(),
        )


def token_verifier(settings: IngestSettings, http: aiohttp.ClientSession) -> TokenVerifier | None:
    """The verifier that the settings describe; None where they name no issuer, and tokens are off."""
    issuer, audience, url = settings.oidc_issuer, settings.oidc_audience, settings.oidc_jwks_url
    if issuer is None or audience is None or url is None:
        return None
    rules = TokenRules(
        issuer=issuer,
        audience=audience,
        app=settings.oidc_app,
        app_claim=settings.oidc_app_claim,
        customer_claim=settings.oidc_customer_claim,
        role_claim=settings.oidc_role_claim,
    )
    read = partial(fetch_jwks, http, url)

    async def fetch() -> Mapping[str, SigningKey]:
        return signing_keys(await read())

    keys = TrustedKeys(fetch, cooldown_seconds=settings.oidc_keys_cooldown_seconds)
    return TokenVerifier(rules, keys)


def signing_keys(published: Iterable[Mapping[str, Any]]) -> dict[str, SigningKey]:
    """By name, those of a provider's keys that tokens may be signed with; others are passed over."""
    found = ((str(one.get("kid", "")), _signing_key(one)) for one in published)
    return {name: key for name, key in found if name and key}


def _unauthorized(code: str, message: str) -> ApiError:
    headers = {"WWW-Authenticate": 'Bearer realm="kinstream", error="invalid_token"'}
    return ApiError(HTTPStatus.UNAUTHORIZED, code, message, headers=headers)


def _invalid(message: str) -> ApiError:
    return _unauthorized("invalid_token", message)


_REASONS: dict[type[Exception], str] = {
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidIssuerError: "the token is of another issuer",
    jwt.InvalidSignatureError: "the token's signature is not right",
    jwt.InvalidAlgorithmError: "the token is signed in a way that its key is not for",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.MissingRequiredClaimError: f"the token must have {', '.join(_REQUIRED)}",
}


def _key_name(token: str) -> str:
    try:
        name = jwt.get_unverified_header(token).get("kid")
    except (jwt.PyJWTError, ValueError, RecursionError) as error:
        raise _invalid("this is no token") from error
    if not isinstance(name, str) or not name:
        raise _invalid("the token does not name its key (kid)")
    return name


def _signing_key(published: Mapping[str, Any]) -> SigningKey | None:
    algorithm = _ALGORITHMS.get((str(published.get("kty")), published.get("crv")))
    # A private key that anybody can read proves nothing.
    if algorithm is None or published.get("use", "sig") != "sig" or "d" in published:
        return None
    if published.get("alg", algorithm) != algorithm:
        return None
    try:
        key: Any = jwt.PyJWK(dict(published), algorithm=algorithm).key
    except (jwt.PyJWTError, ValueError, TypeError):
        return None
    if published["kty"] == "RSA" and key.key_size < _MIN_RSA_BITS:
        return None
    return SigningKey(algorithm, key)


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_ID_LENGTH:
        raise _invalid(f"the token's claim {name} must be a text of 1 to {_MAX_ID_LENGTH} characters")
    return value
