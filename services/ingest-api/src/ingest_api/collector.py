"""The hot path: the sending endpoints as a plain ASGI callable in front of FastAPI's router.

Success means durable: SNS has confirmed every event that was taken, and the quarantine holds every event
that was not. Anything less is an error, and sending the same body again is safe: each event is
counted once, however often it comes.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus

import msgspec
from starlette.types import Receive, Scope, Send

from ingest_api.access_log import AccessLog
from ingest_api.admission import Admission, admit, admit_items
from ingest_api.app_rules import MISSING, RulesProvider
from ingest_api.auth import Authenticator, Caller
from ingest_api.bodies import MAX_EVENTS
from ingest_api.dialects.base import Answer, Dialect, Incoming, Outcome
from ingest_api.errors import ApiError, unavailable
from ingest_api.metrics import Metrics
from ingest_api.publisher import Publisher
from ingest_api.quarantine import Quarantine
from ingest_api.rate_limit import Limits, RateLimiter
from ingest_api.repetitions import Repetitions
from ingest_api.request_body import ClientGoneError, expected_bytes, inflate_unlabelled, read_body
from ingest_api.rules import Rules
from kinstream.clock import now_ms
from kinstream.errors import RetryableError

log = logging.getLogger(__name__)

NATIVE_PATH = "/v1/events"
_ACCEPTED = b'{"accepted":%d,"rejected":[]}'

_LARGE_BYTES = 64 * 1024

Handler = Callable[[Scope, Receive], Awaitable[tuple[Answer, int]]]
"""Gives the answer to a request whose events are durable, and how many they were."""


class Collector:
    """Answers the sending endpoints: the native one, and those of each dialect."""

    def __init__(
        self,
        *,
        authenticator: Authenticator,
        limiter: RateLimiter,
        rules: RulesProvider,
        publisher: Publisher,
        quarantine: Quarantine,
        metrics: Metrics,
        access_log: AccessLog,
        retention_seconds: int,
        body_timeout_seconds: float = 20.0,
        quarantine_timeout_seconds: float = 5.0,
        max_receiving_bytes: int = 64 * 1024 * 1024,
        dialects: Sequence[Dialect] = (),
    ) -> None:
        self._authenticator = authenticator
        self._limiter = limiter
        self._rules = rules
        self._publisher = publisher
        self._quarantine = quarantine
        self._metrics = metrics
        self._access_log = access_log
        self._retention_ms = retention_seconds * 1000
        self._body_seconds = body_timeout_seconds
        self._quarantine_seconds = quarantine_timeout_seconds
        self._repetitions = Repetitions()
        self._receiving_bytes = 0
        self._max_receiving_bytes = max_receiving_bytes
        metrics.receiving_bytes.set_function(lambda: self._receiving_bytes)
        self.dialects = dialects
        self.handlers: dict[str, tuple[frozenset[str], Handler]] = {
            NATIVE_PATH: (frozenset({"POST"}), self._native)
        }
        for dialect in dialects:
            handler = partial(self._spoken, dialect)
            self.handlers |= {path: (methods, handler) for path, methods in dialect.routes.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request to one of `handlers`' paths."""
        started = time.perf_counter()
        headers: list[tuple[bytes, bytes]] = []
        events = 0
        try:
            answer, events = await self._handle(scope, receive)
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
        self._access_log.sent(scope["method"], scope["path"], answer.status, started, events)

    async def _handle(self, scope: Scope, receive: Receive) -> tuple[Answer, int]:
        methods, handler = self.handlers[scope["path"]]
        if scope["method"] not in methods:
            raise _wrong_method(methods)
        return await handler(scope, receive)

    async def _native(self, scope: Scope, receive: Receive) -> tuple[Answer, int]:
        headers = dict(scope["headers"])
        caller = await self._identify(headers.get(b"authorization", b""))
        body = await self._read(headers, receive)
        rules = await self._rules_of(caller)
        received_at_ms = now_ms()
        judge = partial(admit, body, received_at_ms, self._retention_ms, rules)
        admission = await _judged(judge, body, rules)
        await self._store(caller, rules, received_at_ms, admission, body)
        if not admission.rejected:
            return Answer(202, _ACCEPTED % admission.accepted), admission.accepted
        outcome = {"accepted": admission.accepted, "rejected": admission.rejected}
        return Answer(202, msgspec.json.encode(outcome)), admission.count

    async def _spoken(self, dialect: Dialect, scope: Scope, receive: Receive) -> tuple[Answer, int]:
        """`_translated`, with a refusal as the dialect's clients understand it."""
        try:
            return await self._translated(dialect, scope, receive)
        except ApiError as error:
            raise dialect.refusal(error) from error

    async def _translated(self, dialect: Dialect, scope: Scope, receive: Receive) -> tuple[Answer, int]:
        headers = dict(scope["headers"])
        authorization = headers.get(b"authorization", b"")
        # Before the body is read, if it can be; a key within the body can only be looked at afterwards.
        caller = await self._identify(authorization) if authorization else None
        body = await self._read(headers, receive)
        if dialect.has_unlabelled_gzip:
            body = inflate_unlabelled(body)
        incoming = Incoming(scope["method"], scope["path"], scope["query_string"], headers, body, now_ms())
        reading = dialect.read(incoming)
        if caller is None:
            caller = await self._identify(b"Bearer " + reading.key.encode() if reading.key else b"")
        rules = await self._rules_of(caller)
        judge = partial(admit_items, reading.items, incoming.received_at_ms, self._retention_ms, rules)
        admission = await _judged(judge, body, rules)
        await self._store(caller, rules, incoming.received_at_ms, admission, body or incoming.query)
        outcome = Outcome(admission.accepted, admission.rejected)
        return dialect.answer(incoming, reading, outcome), admission.count

    async def _read(self, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The body. 503 where so many bodies are on their way that they might not find room."""
        expected = expected_bytes(headers)
        if self._receiving_bytes + expected > self._max_receiving_bytes:
            raise unavailable("too many bodies are on their way here; send the same again", code="overloaded")
        self._receiving_bytes += expected
        try:
            return await read_body(headers, receive, self._body_seconds)
        finally:
            self._receiving_bytes -= expected

    async def _identify(self, authorization: bytes) -> Caller:
        """Who sends, if it may send now: what can be refused is refused before it is read."""
        caller = await self._authenticator.identify(authorization)
        self._limiter.check(caller.key_id)
        self._publisher.require_room(caller.app)
        return caller

    async def _rules_of(self, caller: Caller) -> Rules | None:
        known = self._rules.known(caller.app)
        return await self._rules.of(caller.app) if known is MISSING else known

    async def _store(
        self, caller: Caller, rules: Rules | None, received_at_ms: int, admission: Admission, sent: bytes
    ) -> None:
        """Return once all of it is durable; 503 where it is not, 429 where the key sends too much."""
        limits = _limits(rules.events_per_second) if rules and rules.events_per_second else None
        await self._limiter.spend(caller.key_id, max(1, admission.count), limits)
        if admission.quarantined:
            await self._store_both(caller.app, received_at_ms, admission)
            for rejection in admission.rejected:
                self._metrics.rejected.labels(rejection.error).inc()
        elif admission.parts:
            await self._publisher.publish(caller.app, admission.parts, admission.types)
        self._metrics.accepted.inc(admission.accepted)
        if self._repetitions.has(caller.app, sent):
            self._metrics.repeated.inc(admission.count)

    async def _store_both(self, app: str, received_at_ms: int, admission: Admission) -> None:
        try:
            # Bounded as a whole: each of a client's attempts may first wait for a connection.
            async with asyncio.timeout(self._quarantine_seconds), asyncio.TaskGroup() as both:
                both.create_task(self._quarantine.put(app, received_at_ms, admission.quarantined))
                if admission.parts:
                    both.create_task(self._publisher.publish(app, admission.parts, admission.types))
        except* (RetryableError, ApiError, TimeoutError) as group:
            # One error for whatever failed: two that are raised here would be a group again.
            raise unavailable("some of the events could not be kept now; send all again") from group

    def _refusal(self, error: ApiError) -> tuple[Answer, list[tuple[bytes, bytes]]]:
        self._metrics.refused.labels(error.code).inc()
        headers = [(name.lower().encode(), value.encode()) for name, value in error.headers.items()]
        return Answer(error.status, msgspec.json.encode(error.body)), headers


async def _judged(judge: Callable[[], Admission], body: bytes, rules: Rules | None) -> Admission:
    if rules and rules.concern_events and len(body) > _LARGE_BYTES:
        # A large body under privacy switches and schemas may take long enough to hold up everybody else.
        return await asyncio.to_thread(judge)
    return judge()


@lru_cache(maxsize=1024)
def _limits(events_per_second: int) -> Limits:
    """An app's own limit: four seconds' worth may come at once, and a full request always."""
    return Limits(events_per_second, max(2 * MAX_EVENTS, 4 * events_per_second))


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
