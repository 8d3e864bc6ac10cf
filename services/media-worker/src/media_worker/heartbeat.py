"""Holding on to a message and its item while they are worked on, and letting go when nobody waits.

The message's visibility and the item's lease are renewed until the work ends. A child process whose
parent has been killed gives its message back and ends within a second: nobody would hear its result.
"""

import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.catalog import Claim, MediaRepository
from kinstream.errors import RetryableError

log = logging.getLogger(__name__)

_PARENT_CHECK_SECONDS = 0.5
_ORPHAN_EXIT_CODE = 70


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message. `receipt` is good for this one alone, `message_id` stays the same."""

    message_id: str
    queue_url: str
    receipt: str
    receive_count: int

    @classmethod
    def of_task(cls, properties: dict[str, Any]) -> "Delivery":
        """From the properties of a Celery request, where kombu leaves what SQS said."""
        info = properties["delivery_info"]
        message = info["sqs_message"]
        return cls(
            message_id=message["MessageId"],
            queue_url=info["sqs_queue"],
            receipt=message["ReceiptHandle"],
            receive_count=int(message.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
        )


class Heartbeat:
    """Renews holds for one child process. At most one piece of work is under way."""

    def __init__(
        self, sqs: Any, catalog: MediaRepository, hold_seconds: int, interval_seconds: float
    ) -> None:
        self._sqs = sqs
        self._catalog = catalog
        self._hold_seconds = hold_seconds
        self._interval_seconds = interval_seconds
        self._current: Delivery | None = None

    @contextmanager
    def holding(self, delivery: Delivery, claim: Claim) -> Iterator[None]:
        """Keep the message invisible and the item claimed as long as the block runs."""
        done = threading.Event()
        beat = threading.Thread(target=self._beat, args=(delivery, claim, done), daemon=True)
        self._current = delivery
        beat.start()
        try:
            yield
        finally:
            self._current = None
            done.set()
            beat.join()

    def give_back(self, delivery: Delivery, after_seconds: int) -> None:
        """Let the message be delivered again after so long; where that fails, its timeout does it."""
        try:
            self._sqs.change_message_visibility(
                QueueUrl=delivery.queue_url,
                ReceiptHandle=delivery.receipt,
                VisibilityTimeout=after_seconds,
            )
        except (BotoCoreError, ClientError, OSError) as error:
            log.warning("message not given back", extra={"error": type(error).__name__})

    def watch_parent(self, leave: Callable[[int], None] = os._exit) -> None:
        """From now on, end this process soon after its parent has ended."""
        parent = os.getppid()

        def watch() -> None:
            while os.getppid() == parent:
                threading.Event().wait(_PARENT_CHECK_SECONDS)
            current = self._current
            if current is not None:
                self.give_back(current, 0)
            leave(_ORPHAN_EXIT_CODE)

        threading.Thread(target=watch, name="parent-watch", daemon=True).start()

    def _beat(self, delivery: Delivery, claim: Claim, done: threading.Event) -> None:
        while not done.wait(self._interval_seconds):
            self.give_back(delivery, self._hold_seconds)
            try:
                self._catalog.extend(claim, self._hold_seconds)
            except RetryableError as error:
                log.warning("lease not renewed", extra={"error": str(error)})
