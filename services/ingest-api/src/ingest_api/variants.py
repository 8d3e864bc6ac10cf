"""Variants of a photo, made when they are first asked for and kept.

Guarantee: however many ask for one at once, here and in other processes, it is ordered once: the catalog says
who was first, and that one sends the message. All of this process wait together, so that the catalog is asked
once in a while and not once a client.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from ingest_api.catalog_calls import from_catalog
from ingest_api.errors import ApiError, not_found, unavailable
from kinstream.catalog import (
    MediaRepository,
    Rendition,
    State,
    StepState,
    TooManyVariantsError,
    VariantState,
)
from kinstream.catalog.variants import VariantSpec

_FIRST_PAUSE_SECONDS = 0.05
_LONGEST_PAUSE_SECONDS = 0.5
_RETRY_AFTER_SECONDS = 2
_MAX_WAITED_FOR = 500
"""Variants that this process waits for at once."""

Send = Callable[[str], Awaitable[object]]
"""Puts a message into the queue of uploads; ApiError 503 where it does not take it."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A variant of an item."""

    app: str
    media_id: str
    spec: VariantSpec

    @property
    def message(self) -> str:
        """What the worker is told."""
        order = {"kinstream": "variant", "app": self.app, "media_id": self.media_id, "step": self.spec.name}
        return json.dumps(order)


class Variants:
    """Finds variants, and has those made that there are not yet. On one event loop."""

    def __init__(self, catalog: MediaRepository, send: Send, wait_seconds: float, most: int) -> None:
        """`most`: variants of one item that are ever made."""
        self._catalog = catalog
        self._send = send
        self._wait_seconds = wait_seconds
        self._most = most
        self._making: dict[Wanted, asyncio.Task[Rendition]] = {}
        self._stopping = asyncio.Event()

    async def get(self, wanted: Wanted) -> Rendition:
        """The variant, made now if need be.

        ApiError 404 without such an item, 409 where it has no picture, is not ready, has variants enough, or
        this one cannot be made, 503 with Retry-After where it is not made in time: it goes on being made.
        """
        known = await self._state(wanted)
        if known is not None and known.rendition is not None:
            return known.rendition
        task = self._making.get(wanted)
        if task is None:
            if len(self._making) >= _MAX_WAITED_FOR:
                raise unavailable("too many pictures are being made; ask again", code="overloaded")
            task = asyncio.create_task(self._make(wanted))
            self._making[wanted] = task
            task.add_done_callback(lambda done: self._made(wanted, done))
        # One client that leaves must not fail the others.
        return await asyncio.shield(task)

    def stop(self) -> None:
        """Whoever waits is told to ask another instance: this process is to end."""
        self._stopping.set()

    async def _make(self, wanted: Wanted) -> Rendition:
        await self._order(wanted)
        pause_seconds = _FIRST_PAUSE_SECONDS
        deadline = asyncio.get_running_loop().time() + self._wait_seconds
        while asyncio.get_running_loop().time() < deadline:
            await self._pause(pause_seconds)
            pause_seconds = min(_LONGEST_PAUSE_SECONDS, pause_seconds * 1.5)
            known = await self._state(wanted)
            if known is not None and known.rendition is not None:
                return known.rendition
            if known is not None and known.state == StepState.FAILED:
                raise _conflict("cannot_be_made", f"this picture cannot be made: {known.reason}")
        raise unavailable(
            "this picture is still being made; ask again in a moment",
            code="not_made_yet",
            retry_after_seconds=_RETRY_AFTER_SECONDS,
        )

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
                raise unavailable("stopping; send the same request to another instance", code="not_ready")

    def _made(self, wanted: Wanted, task: asyncio.Task[Rendition]) -> None:
        self._making.pop(wanted, None)
        if not task.cancelled():
            # Seen, though all who waited may have left.
            task.exception()

    async def _state(self, wanted: Wanted) -> VariantState | None:
        return await from_catalog(self._catalog.variant, wanted.app, wanted.media_id, wanted.spec.name)

    async def _order(self, wanted: Wanted) -> None:
        app, media_id, spec = wanted.app, wanted.media_id, wanted.spec
        await self._require_picture(app, media_id)
        try:
            is_ours = await from_catalog(
                self._catalog.order_variant, app, media_id, spec.name, spec.arguments, most=self._most
            )
        except TooManyVariantsError as error:
            raise _conflict(
                "too_many_variants",
                f"this item has been made in {self._most} other sizes and formats, and no more are made: "
                "ask for one that there is",
            ) from error
        # Where the queue does not take it, the catalog tells whoever asks a minute later to send it.
        if is_ours:
            await self._send(wanted.message)

    async def _require_picture(self, app: str, media_id: str) -> None:
        item = await from_catalog(self._catalog.get, app, media_id)
        if item is None:
            raise not_found("this media item")
        if item.kind == "audio":
            raise _conflict("no_picture", "this item is sound alone and has no picture")
        if item.state == State.FAILED:
            raise _conflict("cannot_be_made", f"this item failed: {item.reason}")
        if item.state != State.READY:
            raise _conflict("not_ready_yet", f"this item is {item.state}; ask again when it is ready")


def _conflict(code: str, message: str) -> ApiError:
    return ApiError(HTTPStatus.CONFLICT, code, message)
