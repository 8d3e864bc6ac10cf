"""The ASGI application, from parts that `main` built: the collector in front, FastAPI behind it."""

import asyncio
import time
from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from opentelemetry.trace import Span
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_api import error_handlers, openapi
from ingest_api.access_log import AccessLog
from ingest_api.collector import Collector
from kinstream.tracing import begun

MAX_BODY_BYTES = 64 * 1024
"""Of the requests that FastAPI reads: none of them carries more than a form."""
_BODY_SECONDS = 20.0
_PREFLIGHT_SECONDS = 86_400
"""How long a browser remembers that it may call."""
_NO_ROUTE = "(none)"


def build_app(
    collector: Collector, routers: Iterable[APIRouter], access_log: AccessLog, traced_share: float = 0.0
) -> ASGIApp:
    """One application of both. Of its requests, `traced_share` (0 to 1) begin a trace."""
    api = FastAPI(
        title="Kinstream",
        version="1",
        description="Events and media of a family app: send them in, read what they mean.",
        # Its own spans hold addresses, which name customers, and come for every request.
        telemetry={"tracing": False, "metrics": False, "logs": False, "operation_spans": False},
    )
    error_handlers.install(api)
    for router in routers:
        api.include_router(router)
    openapi.install(api, collector.dialects)
    routed = _Routed(collector, api, access_log, traced_share)
    # Any page may call, since a key is sent by its code and never by the browser of itself.
    cross_origin = CORSMiddleware(
        routed,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["*"],
        expose_headers=["Retry-After"],
        max_age=_PREFLIGHT_SECONDS,
    )

    async def front(scope: Scope, receive: Receive, send: Send) -> None:
        # Only a browser sends an origin; for everybody else the headers about it would cost a tenth more.
        from_page = [name for name, _ in scope.get("headers", ()) if name == b"origin"]
        await (cross_origin if from_page else routed)(scope, receive, send)

    return front


class _Routed:
    """Sends the hot path to the collector and the rest to the router."""

    def __init__(
        self, collector: Collector, api: ASGIApp, access_log: AccessLog, traced_share: float
    ) -> None:
        self._collector = collector
        self._api = api
        self._access_log = access_log
        self._traced_share = traced_share

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._api(scope, receive, send)
            return
        with begun("request", self._traced_share) as span:
            if span.is_recording():
                send = self._traced(span, scope, send)
            if scope["path"] in self._collector.handlers:
                await self._collector(scope, receive, send)
            else:
                # Still percent-encoded, so that a slash within an id does not look like one between segments.
                scope["path"] = scope["raw_path"].decode("latin-1")
                await self._logged(scope, receive, send)

    def _traced(self, span: Span, scope: Scope, send: Send) -> Send:
        """`send` that tells the span what is answered, by the route: an address would name a customer."""

        async def traced(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = scope["path"] if scope["path"] in self._collector.handlers else _template(scope)
                if route != _NO_ROUTE:
                    span.update_name(f"{scope['method']} {route}")
                span.set_attribute("http.response.status_code", message["status"])
            await send(message)

        return traced

    async def _logged(self, scope: Scope, receive: Receive, send: Send) -> None:
        started, status = time.perf_counter(), 500

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._api(scope, _bounded(receive), watched)
        finally:
            self._access_log.served(scope["method"], _template(scope), status, started)


def _template(scope: Scope) -> str:
    return getattr(scope.get("route"), "path", _NO_ROUTE)


def _bounded(receive: Receive) -> Receive:
    """`receive` up to the limits. FastAPI's own limit would answer in a form that is not ours."""
    received = 0
    whole = False
    deadline = asyncio.get_running_loop().time() + _BODY_SECONDS

    async def bounded() -> Message:
        nonlocal received, whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout_at(deadline):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        received += len(message.get("body", b""))
        whole = not message.get("more_body", False)
        if received > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return bounded
