"""Tells the archive who was shown what while an experiment runs, so that its arms can be compared.

An exposure is an event of Kinstream's own, archived and counted nowhere: it makes no session, no counter and
no training. One an hour, customer and arm: repetitions have the same identity. It is sent beside the answer,
which does not wait for it; one that SNS does not take is lost, and the comparison knows of one fewer.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import msgspec

from ingest_api.errors import ApiError
from kinstream.chunks import Part
from kinstream.errors import RetryableError
from kinstream.events import RECOMMENDATION_EXPOSED, format_time_ms

log = logging.getLogger(__name__)

_HOUR_MS = 3_600_000
_MOST_REMEMBERED = 50_000
_MOST_CONTENTS = 10

Publish = Callable[[str, list[Part], set[str]], Awaitable[None]]


class Exposed(NamedTuple):
    """What a customer was shown, and why."""

    experiment: str
    variant: str
    run_id: str | None
    """Whose list it was; None for what is trending."""
    content_ids: list[str]


class Exposures:
    """Sends exposures. Guarantee: at most once an hour from each process, best effort."""

    def __init__(self, publish: Publish) -> None:
        self._publish = publish
        self._told: set[tuple[str, str, str, int]] = set()
        self._sending: set[asyncio.Task[None]] = set()

    def tell(self, app: str, customer_id: str, exposed: Exposed, now_ms: int) -> None:
        """Send it, unless it was told of this hour."""
        hour = now_ms // _HOUR_MS
        mark = (app, customer_id, exposed.experiment, hour)
        if mark in self._told:
            return
        if len(self._told) >= _MOST_REMEMBERED:
            self._told.clear()
        self._told.add(mark)
        part = Part(exposure(customer_id, exposed, hour * _HOUR_MS), 1, now_ms, counted=False)
        task = asyncio.create_task(self._send(app, part))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def close(self) -> None:
        """Wait for what is being sent."""
        await asyncio.gather(*self._sending)

    async def _send(self, app: str, part: Part) -> None:
        try:
            await self._publish(app, [part], {RECOMMENDATION_EXPOSED})
        except (ApiError, RetryableError) as error:
            log.warning("exposure not told", extra={"error": type(error).__name__})


def exposure(customer_id: str, exposed: Exposed, hour_ms: int) -> bytes:
    """The event as JSON. What was shown later in the hour has the same identity and is the same exposure."""
    data = exposed._replace(content_ids=exposed.content_ids[:_MOST_CONTENTS])._asdict()
    event = {
        "id": f"exposed-{exposed.experiment}-{exposed.variant}",
        "type": RECOMMENDATION_EXPOSED,
        "customer_id": customer_id,
        "occurred_at": format_time_ms(hour_ms),
        "data": data,
    }
    return msgspec.json.encode(event)
