"""The hot path: `POST /v1/events` as a plain ASGI callable in front of FastAPI's router.

202 means durable: SNS has confirmed every event that was taken, and the quarantine holds every event
that was not. Anything less is an error, and sending the same body again is safe: each event is
counted once, however often it comes.
"""

import asyncio
import logging
import zlib
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import msgspec
from starlette.types import Receive, Scope, Send

from ingest_api.admission import Admission, admit
from ingest_api.auth import Authenticator
from ingest_api.errors import ApiError, unavailable
from ingest_api.metrics import Metrics
from ingest_api.publisher import Publisher
from ingest_api.quarantine import Quarantine
from kinstream.clock import now_ms
from kinstream.errors import RetryableError

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1024 * 1024
_ACCEPTED = b'{"accepted":%d,"rejected":[]}'
_JSON = (b"content-type", b"application/json")
_GZIP = 16 + zlib.MAX_WBITS
_MAX_GZIP_MEMBERS = 32
"""A body of thousands of empty members would cost time that grows with their square."""

Handler = Callable[[Scope, Receive], Awaitable[tuple[int, bytes]]]


class ClientGoneError(Exception):
    """The client went away before its body was here; nobody waits for an answer."""


class Collector:
    """Answers the sending endpoints. Other dialects of sending become entries of `handlers`."""

    def __init__(
        self,
        authenticator: Authenticator,
        publisher: Publisher,
        quarantine: Quarantine,
        metrics: Metrics,
        retention_seconds: int,
    ) -> None:
        self._authenticator = authenticator
        self._publisher = publisher
        self._quarantine = quarantine
        self._metrics = metrics
        self._retention_ms = retention_seconds * 1000
        self.handlers: dict[str, Handler] = {"/v1/events": self._events}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to one of `handlers`' paths."""
        headers: list[tuple[bytes, bytes]] = []
        try:
            _require_post(scope["method"])
            status, body = await self.handlers[scope["path"]](scope, receive)
        except ClientGoneError:
            return
        except ApiError as error:
            status, body, headers = self._refusal(error)
        except Exception:
            log.exception("an event request failed in an unforeseen way")
            status, body, headers = self._refusal(_internal())
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]})
        await send({"type": "http.response.body", "body": body})

    async def _events(self, scope: Scope, receive: Receive) -> tuple[int, bytes]:
        headers = dict(scope["headers"])
        caller = await self._authenticator.identify(headers.get(b"authorization", b""))
        self._publisher.require_room()
        body = await read_body(headers, receive)
        received_at_ms = now_ms()
        admission = admit(body, received_at_ms, self._retention_ms)
        await self._store(caller.app, received_at_ms, admission)
        self._metrics.accepted.inc(admission.accepted)
        if not admission.rejected:
            return 202, _ACCEPTED % admission.accepted
        for rejection in admission.rejected:
            self._metrics.rejected.labels(rejection.error).inc()
        return 202, msgspec.json.encode({"accepted": admission.accepted, "rejected": admission.rejected})

    async def _store(self, app: str, received_at_ms: int, admission: Admission) -> None:
        if not admission.quarantined:
            if admission.pieces:
                await self._publisher.publish(app, admission.pieces, admission.types)
            return
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._quarantine.put(app, received_at_ms, admission.quarantined))
                if admission.pieces:
                    both.create_task(self._publisher.publish(app, admission.pieces, admission.types))
        except* RetryableError as group:
            raise unavailable("the rejected events could not be kept now; send all again") from group
        except* ApiError as group:
            raise group.exceptions[0] from None

    def _refusal(self, error: ApiError) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
        self._metrics.refused.labels(error.code).inc()
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        return error.status, msgspec.json.encode(error.body), headers


async def read_body(headers: dict[bytes, bytes], receive: Receive) -> bytes:
    """The body, decompressed, at most MAX_BODY_BYTES of it at either stage: 413 beyond, 415, 400."""
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b"", b"gzip", b"x-gzip"):
        raise ApiError(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "unsupported_encoding",
            "the body may be plain or gzip",
            {"content_encoding": encoding.decode("latin-1")[:100]},
            {"Accept-Encoding": "gzip"},
        )
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > MAX_BODY_BYTES:
        raise _too_large()
    body = await _receive_all(receive)
    return inflate(body) if encoding in (b"gzip", b"x-gzip") else body


async def _receive_all(receive: Receive) -> bytes:
    message = await receive()
    if message["type"] == "http.request" and not message.get("more_body"):
        body: bytes = message.get("body", b"")
        if len(body) > MAX_BODY_BYTES:
            raise _too_large()
        return body
    parts = bytearray()
    while message["type"] == "http.request":
        parts += message.get("body", b"")
        if len(parts) > MAX_BODY_BYTES:
            raise _too_large()
        if not message.get("more_body"):
            return bytes(parts)
        message = await receive()
    raise ClientGoneError


def inflate(body: bytes) -> bytes:
    """The content of gzip members, cut off at the limit: no more than that is ever in memory."""
    inflated = bytearray()
    for _ in range(_MAX_GZIP_MEMBERS):
        member = zlib.decompressobj(_GZIP)
        try:
            inflated += member.decompress(body, MAX_BODY_BYTES + 1 - len(inflated))
        except zlib.error as error:
            raise _bad_gzip(str(error)) from error
        if len(inflated) > MAX_BODY_BYTES:
            raise _too_large()
        if not member.eof:
            raise _bad_gzip("it ends too early")
        body = member.unused_data
        if not body:
            return bytes(inflated)
    raise _bad_gzip(f"it has more than {_MAX_GZIP_MEMBERS} members")


def _bad_gzip(why: str) -> ApiError:
    message = "Content-Encoding says gzip, but the body is none"
    return ApiError(HTTPStatus.BAD_REQUEST, "invalid_encoding", message, why)


def _too_large() -> ApiError:
    return ApiError(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body_too_large",
        "the body is over 1 MiB after decompression; send fewer events at once",
        {"limit_bytes": MAX_BODY_BYTES},
        {"Connection": "close"},
    )


def _require_post(method: str) -> None:
    if method != "POST":
        raise ApiError(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "events are sent with POST",
            headers={"Allow": "POST"},
        )


def _internal() -> ApiError:
    return ApiError(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this is our mistake; send the same request again"
    )
