"""Who calls: an API key in `Authorization`, as `Bearer <key>` or as the user name of Basic, or an OIDC token.

Keys lie in the registry by their hash. What is found, and what is not, is remembered for a few
seconds, so that a busy key costs one read each time it runs out, however many requests wait for it.
A token is remembered as long, and never longer than it is valid.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus
from typing import Literal

from ingest_api.errors import ApiError, not_found
from ingest_api.rate_limit import RateLimiter
from ingest_api.tokens import MAX_TOKEN_BYTES, Identity, Role, TokenVerifier
from kinstream.errors import PermanentError
from kinstream.registry import ApiKey, KeyKind, parse_key

_MAX_REMEMBERED = 10_000
_MAX_HEADER_BYTES = 2_048
_KEY_ID_LENGTH = 16

KeyLookup = Callable[[ApiKey], Awaitable[bool]]
"""Whether the registry holds this key and it has not been revoked."""


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a request speaks, and by what: a key of an app, a person's token, or a signed URL."""

    app: str
    kind: KeyKind | Literal["token", "signed"]
    key_id: str
    """Names the key, or the person of the token, in rate limits; says nothing of either."""
    customer_id: str | None = None
    """The one customer that a token speaks for; None is all of the app."""
    person_id: str | None = None
    role: Role | None = None

    def require_customer(self, customer_id: str, what: str = "this customer") -> None:
        """404 unless the caller may see this customer: whether there is one, a stranger does not learn."""
        if self.customer_id is not None and self.customer_id != customer_id:
            raise not_found(what)

    def require_server(self) -> None:
        """403 for whoever has no secret key."""
        if self.kind != "secret":
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                "secret_key_required",
                "call this from a server, with a secret key (ks_...)",
            )

    def require_guardian(self) -> None:
        """403 for the token of a child."""
        if self.role == "child":
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                "guardian_required",
                "alerts, places and people are for guardians; this token is of a child",
            )


class _Remembered:
    """A bounded map whose entries run out; when full, the oldest goes first."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: dict[bytes, tuple[float, Caller | None]] = {}

    def get(self, digest: bytes) -> tuple[float, Caller | None] | None:
        entry = self._entries.get(digest)
        if entry is None or entry[0] < time.monotonic():
            return None
        return entry

    def put(self, digest: bytes, caller: Caller | None, seconds: float | None = None) -> None:
        self._entries.pop(digest, None)
        if len(self._entries) >= _MAX_REMEMBERED:
            del self._entries[next(iter(self._entries))]
        seconds = self._seconds if seconds is None else min(seconds, self._seconds)
        self._entries[digest] = (time.monotonic() + seconds, caller)


class Authenticator:
    """Names the caller of a request or raises 401, 403, 429, or 503 where it cannot be told now.

    A revoked key stops working within `cache_seconds`. Without `tokens` only keys are taken; without
    `reads` nobody is told to slow down.
    """

    def __init__(
        self,
        lookup: KeyLookup,
        cache_seconds: float = 10.0,
        tokens: TokenVerifier | None = None,
        reads: RateLimiter | None = None,
    ) -> None:
        self._lookup = lookup
        self._tokens = tokens
        self._reads = reads
        # Apart, so that neither wrong keys nor many people's tokens can push the right keys out.
        self._known = _Remembered(cache_seconds)
        self._believed = _Remembered(cache_seconds)
        self._unknown = _Remembered(cache_seconds)
        self._asking: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def identify(self, authorization: bytes) -> Caller:
        """The caller that may send events: one with a key."""
        caller = await self._caller(authorization)
        if caller.kind == "token":
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                "key_required",
                "a token may read and declare uploads; send events with a key (kw_...)",
            )
        return caller

    async def declarer(self, authorization: bytes) -> Caller:
        """The caller that may declare uploads: anyone, at the pace of reading."""
        caller = await self._caller(authorization)
        if self._reads:
            await self._reads.spend(caller.key_id, 1)
        return caller

    async def reader(self, authorization: bytes) -> Caller:
        """The caller that may read and configure: a secret key for its app, a token for its customer."""
        caller = await self.declarer(authorization)
        if caller.kind == "write":
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                "secret_key_required",
                "a write key may only send; call this with a secret key (ks_...) or a token",
            )
        return caller

    async def _caller(self, authorization: bytes) -> Caller:
        if not authorization:
            raise _unauthorized("missing_key", "send your key: Authorization: Bearer <key>")
        digest = sha256(authorization).digest()
        entry = self._known.get(digest) or self._believed.get(digest) or self._unknown.get(digest)
        caller = entry[1] if entry else await self._ask_once(digest, authorization)
        if caller is None:
            raise _unauthorized("unknown_key", "this key is not known, or has been revoked")
        return caller

    async def _ask_once(self, digest: bytes, authorization: bytes) -> Caller | None:
        task = self._asking.get(digest)
        if task is None:
            task = asyncio.create_task(self._ask(digest, authorization))
            self._asking[digest] = task
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        # One caller that gives up must not fail the others that wait for the same answer.
        return await asyncio.shield(task)

    async def _ask(self, digest: bytes, authorization: bytes) -> Caller | None:
        token = _token(authorization)
        if token and self._tokens:
            # A refused one is not remembered: why it was refused may pass, and it cost no call.
            identity = await self._tokens.verify(token)
            caller = _of_token(identity)
            self._believed.put(digest, caller, identity.expires_in_seconds)
            return caller
        key = _parse(authorization)
        found = _of_key(key) if key and await self._lookup(key) else None
        (self._known if found else self._unknown).put(digest, found)
        return found


def _of_key(key: ApiKey) -> Caller:
    return Caller(key.app, key.kind, key.hash[:_KEY_ID_LENGTH])


def _of_token(identity: Identity) -> Caller:
    person = "\0".join((identity.app, identity.customer_id, identity.person_id))
    key_id = sha256(person.encode(errors="surrogatepass")).hexdigest()[:_KEY_ID_LENGTH]
    return Caller(identity.app, "token", key_id, identity.customer_id, identity.person_id, identity.role)


def _token(authorization: bytes) -> str | None:
    """The text of what has the form of a JWT: three parts between dots, and no key's beginning."""
    scheme, _, rest = authorization.strip().partition(b" ")
    text = rest.strip()
    if scheme.lower() != b"bearer" or text.count(b".") != 2 or text.startswith((b"kw_", b"ks_")):
        return None
    # One too long is cut, so that it is refused for what it is.
    return text[: MAX_TOKEN_BYTES + 1].decode("latin-1")


def _parse(authorization: bytes) -> ApiKey | None:
    if len(authorization) > _MAX_HEADER_BYTES:
        return None
    scheme, _, rest = authorization.strip().partition(b" ")
    try:
        match scheme.lower():
            case b"bearer":
                return parse_key(rest.strip().decode())
            case b"basic":
                user, _, _ = base64.b64decode(rest.strip(), validate=True).partition(b":")
                return parse_key(user.decode())
    except (PermanentError, UnicodeDecodeError, binascii.Error):
        return None
    return None


def _unauthorized(code: str, message: str) -> ApiError:
    headers = {"WWW-Authenticate": 'Bearer realm="kinstream"'}
    return ApiError(HTTPStatus.UNAUTHORIZED, code, message, headers=headers)
