"""Who calls: an API key in `Authorization`, as `Bearer <key>` or as the user name of Basic.

Keys lie in the registry by their hash. What is found, and what is not, is remembered for a few
seconds, so that a busy key costs one read each time it runs out, however many requests wait for it.
"""

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from hashlib import sha256
from http import HTTPStatus

from starlette.requests import Request

from ingest_api.errors import ApiError
from kinstream.errors import PermanentError
from kinstream.registry import ApiKey, KeyKind, parse_key

_MAX_REMEMBERED = 10_000
_MAX_HEADER_BYTES = 2_048

KeyLookup = Callable[[ApiKey], Awaitable[bool]]
"""Whether the registry holds this key and it has not been revoked."""


@dataclass(frozen=True, slots=True)
class Caller:
    """On whose behalf a request speaks, and with which kind of key."""

    app: str
    kind: KeyKind


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

    def put(self, digest: bytes, caller: Caller | None) -> None:
        self._entries.pop(digest, None)
        if len(self._entries) >= _MAX_REMEMBERED:
            del self._entries[next(iter(self._entries))]
        self._entries[digest] = (time.monotonic() + self._seconds, caller)


class Authenticator:
    """Names the caller of a request or raises 401, 403, or 503 where the registry cannot be read.

    `sender` and `reader` are dependencies of FastAPI routes. A revoked key stops working within
    `cache_seconds`. Other kinds of credentials join in `identify`.
    """

    def __init__(self, lookup: KeyLookup, cache_seconds: float = 10.0) -> None:
        self._lookup = lookup
        # Apart, so that a flood of wrong keys cannot push the right ones out.
        self._known = _Remembered(cache_seconds)
        self._unknown = _Remembered(cache_seconds)
        self._asking: dict[bytes, asyncio.Task[Caller | None]] = {}

    async def sender(self, request: Request) -> Caller:
        """A caller who may send: any key."""
        return await self.identify(request.headers.get("authorization", "").encode())

    async def reader(self, request: Request) -> Caller:
        """A caller who may read and configure: a secret key."""
        caller = await self.sender(request)
        if caller.kind != "secret":
            raise ApiError(
                HTTPStatus.FORBIDDEN,
                "secret_key_required",
                "a write key may only send; call this with a secret key (ks_...)",
            )
        return caller

    async def identify(self, authorization: bytes) -> Caller:
        """The caller that an `Authorization` header names."""
        if not authorization:
            raise _unauthorized("missing_key", "send your key: Authorization: Bearer <key>")
        digest = sha256(authorization).digest()
        entry = self._known.get(digest) or self._unknown.get(digest)
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
        key = _parse(authorization)
        caller = Caller(key.app, key.kind) if key and await self._lookup(key) else None
        (self._known if caller else self._unknown).put(digest, caller)
        return caller


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
