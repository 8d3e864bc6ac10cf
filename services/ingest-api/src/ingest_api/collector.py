"""The hot path: the sending endpoints as a plain ASGI callable in front of FastAPI's router.

Success means durable: SNS has confirmed every event that was taken, and the quarantine holds every event
that was not. Anything less is an error, and sending the same body again is safe: each event is
counted once, however often it comes.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from functools import partial
from http import HTTPStatus

import msgspec
from starlette.types import Receive, Scope, Send

from ingest_api.admission import Admission, admit, admit_items
from ingest_api.auth import Authenticator
from ingest_api.dialects.base import Answer, Dialect, Incoming, Outcome
from ingest_api.errors import ApiError, unavailable
from ingest_api.metrics import Metrics
from ingest_api.publisher import Publisher
from ingest_api.quarantine import Quarantine
from ingest_api.request_body import ClientGoneError, inflate_unlabelled, read_body
from kinstream.clock import now_ms
from kinstream.errors import RetryableError

log = logging.getLogger(__name__)

NATIVE_PATH = "/v1/events"
_ACCEPTED = b'{"accepted":%d,"rejected":[]}'
_BODY_SECONDS = 20.0

Handler = Callable[[Scope, Receive], Awaitable[Answer]]


class Collector:
    """Answers the sending endpoints: the native one, and those of each dialect."""

    def __init__(
        self,
        authenticator: Authenticator,
        publisher: Publisher,
        quarantine: Quarantine,
        metrics: Metrics,
        *,
        retention_seconds: int,
        dialects: Iterable[Dialect] = (),
    ) -> None:
        self._authenticator = authenticator
        self._publisher = publisher
        self._quarantine = quarantine
        self._metrics = metrics
        self._retention_ms = retention_seconds * 1000
        self.handlers: dict[str, tuple[frozenset[str], Handler]] = {
            NATIVE_PATH: (frozenset({"POST"}), self._native)
        }
        for dialect in dialects:
            handler = partial(self._translated, dialect)
            self.handlers |= {path: (methods, handler) for path, methods in dialect.routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to one of `handlers`' paths."""
        headers: list[tuple[bytes, bytes]] = []
        try:
            answer = await self._handle(scope, receive)
        except ClientGoneError:
            return
        except ApiError as error:
            answer, headers = self._refusal(error)
        except Exception:
            log.exception("an event request failed in an unforeseen way")
            answer, headers = self._refusal(_internal())
        kind, length = (b"content-type", answer.content_type), (b"content-length", b"%d" % len(answer.body))
        await send(
            {"type": "http.response.start", "status": answer.status, "headers": [kind, length, *headers]}
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _handle(self, scope: Scope, receive: Receive) -> Answer:
        methods, handler = self.handlers[scope["path"]]
        if scope["method"] not in methods:
            raise _wrong_method(methods)
        return await handler(scope, receive)

    async def _native(self, scope: Scope, receive: Receive) -> Answer:
        headers = dict(scope["headers"])
        caller = await self._authenticator.identify(headers.get(b"authorization", b""))
        self._publisher.require_room()
        body = await read_body(headers, receive, _BODY_SECONDS)
        received_at_ms = now_ms()
        admission = admit(body, received_at_ms, self._retention_ms)
        outcome = await self._store(caller.app, received_at_ms, admission)
        if not outcome.rejected:
            return Answer(202, _ACCEPTED % outcome.accepted)
        return Answer(202, msgspec.json.encode({"accepted": outcome.accepted, "rejected": outcome.rejected}))

    async def _translated(self, dialect: Dialect, scope: Scope, receive: Receive) -> Answer:
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization", b"")
        if authorization:
            # Before the body is read; a key within the body can only be looked at afterwards.
            await self._authenticator.identify(authorization)
        self._publisher.require_room()
        body = inflate_unlabelled(await read_body(headers, receive, _BODY_SECONDS))
        incoming = Incoming(scope["method"], scope["path"], scope["query_string"], headers, body, now_ms())
        reading = dialect.read(incoming)
        if not authorization and reading.key:
            authorization = b"Bearer " + reading.key.encode()
        caller = await self._authenticator.identify(authorization)
        admission = admit_items(reading.items, incoming.received_at_ms, self._retention_ms)
        outcome = await self._store(caller.app, incoming.received_at_ms, admission)
        return dialect.answer(incoming, reading, outcome)

    async def _store(self, app: str, received_at_ms: int, admission: Admission) -> Outcome:
        """Return once all of it is durable; 503 where it is not."""
        if not admission.quarantined:
            if admission.pieces:
                await self._publisher.publish(app, admission.pieces, admission.types)
        else:
            await self._store_both(app, received_at_ms, admission)
            for rejection in admission.rejected:
                self._metrics.rejected.labels(rejection.error).inc()
        self._metrics.accepted.inc(admission.accepted)
        return Outcome(admission.accepted, admission.rejected)

    async def _store_both(self, app: str, received_at_ms: int, admission: Admission) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._quarantine.put(app, received_at_ms, admission.quarantined))
                if admission.pieces:
                    both.create_task(self._publisher.publish(app, admission.pieces, admission.types))
        except* RetryableError as group:
            raise unavailable("the rejected events could not be kept now; send all again") from group
        except* ApiError as group:
            raise group.exceptions[0] from None

    def _refusal(self, error: ApiError) -> tuple[Answer, list[tuple[bytes, bytes]]]:
        self._metrics.refused.labels(error.code).inc()
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        return Answer(error.status, msgspec.json.encode(error.body)), headers


def _wrong_method(allowed: frozenset[str]) -> ApiError:
    methods = ", ".join(sorted(allowed))
    return ApiError(
        HTTPStatus.METHOD_NOT_ALLOWED,
        "method_not_allowed",
        f"this address takes {methods}",
        headers={"Allow": methods},
    )


def _internal() -> ApiError:
    return ApiError(
        HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "this is our mistake; send the same request again"
    )
