"""EMR's own word that something has changed: EventBridge to SQS to whoever follows the run.

Best effort on both sides: an event may be lost, late or doubled, and another trigger may take it. It only
makes the follower look sooner than it would by itself.
"""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.queues import SqsQueue

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 30.0


class EmrEvents:
    """Listens until cancelled; a queue that is away is tried again."""

    def __init__(self, sqs: Any, queue_name: str, look_now: Callable[[str], None]) -> None:
        self._sqs = sqs
        self._name = queue_name
        self._look_now = look_now

    async def listen(self) -> None:
        """For ever."""
        while True:
            try:
                await self._drain(await SqsQueue.open(self._sqs, self._name))
            except (BotoCoreError, ClientError, OSError) as error:
                log.warning("EMR's events not heard, runs are polled", extra={"error": type(error).__name__})
                await asyncio.sleep(_PAUSE_SECONDS)

    async def _drain(self, queue: SqsQueue) -> None:
        while True:
            messages = await queue.receive(wait_seconds=20)
            for message in messages:
                handle = handle_of(message.body)
                if handle:
                    self._look_now(handle)
            await queue.delete(messages)


def handle_of(body: str) -> str | None:
    """The cluster or job run that an event is about; None for what is no such event."""
    try:
        event = json.loads(body)
        detail = event["detail"]
        handle = detail.get("clusterId") or detail.get("jobRunId")
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    return handle if isinstance(handle, str) else None
