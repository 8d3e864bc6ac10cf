"""The ASGI application, from parts that `main` built: the collector in front, FastAPI behind it."""

from collections.abc import Iterable

from fastapi import APIRouter, FastAPI
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_api import error_handlers, openapi
from ingest_api.collector import Collector

MAX_BODY_BYTES = 64 * 1024
"""Of the requests that FastAPI reads: none of them carries more than a form."""


def build_app(collector: Collector, routers: Iterable[APIRouter]) -> ASGIApp:
    """One application of both."""
    api = FastAPI(
        title="Kinstream",
        version="1",
        description="Events and media of a family app: send them in, read what they mean.",
    )
    error_handlers.install(api)
    for router in routers:
        api.include_router(router)
    openapi.install(api)
    return _Front(collector, api)


class _Front:
    """Sends the hot path to the collector and the rest to the router."""

    def __init__(self, collector: Collector, api: ASGIApp) -> None:
        self._collector = collector
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._api(scope, receive, send)
        elif scope["path"] in self._collector.handlers:
            await self._collector(scope, receive, send)
        else:
            # Still percent-encoded, so that a slash within an id does not look like one between segments.
            scope["path"] = scope["raw_path"].decode("latin-1")
            await self._api(scope, _bounded(receive), send)


def _bounded(receive: Receive) -> Receive:
    """`receive` up to the limit. FastAPI's own limit would answer in a form that is not ours."""
    received = 0

    async def bounded() -> Message:
        nonlocal received
        message = await receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            raise HTTPException(413)
        return message

    return bounded
