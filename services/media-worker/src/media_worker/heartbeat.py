"""Holding on to a message and its step while they are worked on: visibility and lease are renewed, and the
protection of the task from being scaled in."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.catalog import Hold, WorkRepository
from media_worker.protection import TaskProtection
from media_worker.workspace import Delivery, note_alive

log = logging.getLogger(__name__)


def change_visibility(sqs: Any, delivery: Delivery, seconds: int) -> None:
    """Let the message be delivered again after so long; where that fails, its timeout does it."""
    try:
        sqs.change_message_visibility(
            QueueUrl=delivery.queue_url, ReceiptHandle=delivery.receipt, VisibilityTimeout=seconds
        )
    except (BotoCoreError, ClientError, OSError) as error:
        log.warning("visibility not changed", extra={"error": type(error).__name__})


class Heartbeat:
    """Renews holds for one child process."""

    def __init__(
        self,
        sqs: Any,
        catalog: WorkRepository,
        protection: TaskProtection,
        hold_seconds: int,
        interval_seconds: float,
    ) -> None:
        self._sqs = sqs
        self._catalog = catalog
        self._protection = protection
        self._hold_seconds = hold_seconds
        self._interval_seconds = interval_seconds

    @contextmanager
    def holding(self, delivery: Delivery, claim: Hold, folder: Path) -> Iterator[None]:
        """Keep the message invisible and the item claimed as long as the block runs."""
        done = threading.Event()
        beat = threading.Thread(target=self._beat, args=(delivery, claim, folder, done), daemon=True)
        beat.start()
        try:
            yield
        finally:
            done.set()
            beat.join()

    def give_back(self, delivery: Delivery, after_seconds: int) -> None:
        """Let the message be delivered again after so long."""
        change_visibility(self._sqs, delivery, after_seconds)

    def _beat(self, delivery: Delivery, claim: Hold, folder: Path, done: threading.Event) -> None:
        self._protection.renew()
        while not done.wait(self._interval_seconds):
            self._protection.renew()
            change_visibility(self._sqs, delivery, self._hold_seconds)
            note_alive(folder)
            try:
                self._catalog.extend(claim, self._hold_seconds)
            except Exception as error:  # noqa: BLE001 -- a beat that fails must not be the last one
                log.warning("lease not renewed", extra={"error": str(error) or type(error).__name__})
