"""What happens to a customer's things while it happens, as server-sent events."""

import asyncio
import logging
from collections.abc import AsyncIterator
from random import uniform
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel
from starlette.types import Message, Receive, Scope, Send

from ingest_api.auth import Authenticator, Caller
from ingest_api.live_hub import Listener, LiveHub, frame
from ingest_api.routes.access import Access, QueriedCustomerId, authorization
from ingest_api.routes.links import LifeSeconds, Links
from kinstream.events import format_time_ms

log = logging.getLogger(__name__)

_RETRY_MS = 1_000, 5_000
"""After how long a browser connects again: not all of them at the same moment."""
_HEARTBEAT = b":\n\n"
_WRITE_SECONDS = 30.0
"""A client that takes nothing for so long is gone, or as good as gone."""
_DESCRIPTION = """
Events: `media.progress`, `media.ready` and `media.failed`, with JSON in `data`: `media_id` and what changed.

The first event is `stream.opened`: from then on nothing is missed. What happened before is not told, and
`Last-Event-ID` is not looked at: read the state (`GET /v1/media`) after each `stream.opened`. `stream.closed`
says why it ends: `too_slow`, `unavailable` or `stopping`.

Send a key or a token in `Authorization`; a browser's EventSource cannot, and takes a URL of
`POST /v1/stream-urls`.
"""


class StreamUrl(BaseModel):
    """A URL for EventSource, which works without a key until then."""

    url: str
    expires_at: str


class EventStream(StreamingResponse):
    """A listener's events for as long as its client stays; however that ends, the listener is left."""

    def __init__(self, hub: LiveHub, listener: Listener, heartbeat_seconds: float) -> None:
        # Proxies that gather answers would keep the events to themselves.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(
            _frames(listener, heartbeat_seconds), headers=headers, media_type="text/event-stream"
        )
        self._hub = hub
        self._listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(_WRITE_SECONDS):
                await send(message)

        try:
            await super().__call__(scope, receive, send_in_time)
        except TimeoutError:
            log.info("a stream's client took nothing any more")
        finally:
            self._hub.leave(self._listener)


def stream_router(
    hub: LiveHub, links: Links, authenticator: Authenticator, heartbeat_seconds: float
) -> APIRouter:
    """Routes of the stream."""
    router = APIRouter(tags=["stream"])
    access = Access(authenticator)

    async def anyone(
        request: Request, signature: Annotated[str | None, Query(description="Of a signed URL")] = None
    ) -> Caller:
        if signature is None:
            return await authenticator.reader(authorization(request))
        told = links.signer.check(request.scope["path"], request.scope["query_string"].decode("latin-1"))
        # The customer's id is among what is signed.
        return Caller(told.app, "signed", "")

    async def customer(caller: Annotated[Caller, Depends(anyone)], customer_id: QueriedCustomerId) -> Caller:
        caller.require_customer(customer_id)
        return caller

    @router.get(
        "/v1/stream",
        summary="What happens to a customer's things, as it happens",
        description=_DESCRIPTION,
        response_class=StreamingResponse,
        responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    )
    async def stream(
        caller: Annotated[Caller, Depends(customer)], customer_id: QueriedCustomerId
    ) -> EventStream:
        listener = await hub.listen(caller.app, customer_id)
        return EventStream(hub, listener, heartbeat_seconds)

    @router.post("/v1/stream-urls", summary="A URL of a customer's stream for a browser")
    async def stream_url(
        request: Request,
        caller: Annotated[Caller, access.queried_customer],
        customer_id: QueriedCustomerId,
        expires_in_seconds: Annotated[LifeSeconds | None, Query()] = None,
    ) -> StreamUrl:
        """It opens the stream as often as wanted until it expires; an open one goes on."""
        expires = links.expiry(expires_in_seconds)
        url = links.make(request, caller.app, "/v1/stream", expires, customer_id=customer_id)
        return StreamUrl(url=url, expires_at=format_time_ms(expires * 1000))

    return router


async def _frames(listener: Listener, heartbeat_seconds: float) -> AsyncIterator[bytes]:
    yield f"retry: {uniform(*_RETRY_MS):.0f}\n".encode() + frame("stream.opened", {})
    while True:
        told = await listener.next(heartbeat_seconds)
        if told is not None:
            yield told
        elif listener.ending is None:
            yield _HEARTBEAT
        else:
            break
    yield frame("stream.closed", {"reason": listener.ending})
