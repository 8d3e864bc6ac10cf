"""The task that Celery runs in a child process: claim the item, work on it, decide what comes after."""

import logging
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import Reject, SoftTimeLimitExceeded
from celery.signals import worker_process_init

from kinstream.aws import blocking_client
from kinstream.catalog import Claim, MediaRepository, State, open_catalog
from kinstream.clock import now_ms
from kinstream.errors import PermanentError
from media_worker.celery_app import POLL_SECONDS, TASK_NAME
from media_worker.domain.disposition import Failed, after_failure
from media_worker.heartbeat import Heartbeat, change_visibility
from media_worker.job import ClaimLostError, MediaJob
from media_worker.protection import TaskProtection
from media_worker.settings import MediaWorkerSettings
from media_worker.workspace import Delivery, job_folder, sweep

log = logging.getLogger(__name__)

_S3_ATTEMPTS = 8
"""With their pauses about half a minute: a short absence costs no delivery."""


class MediaProcess:
    """One child process: its own clients, opened after the fork."""

    def __init__(self, settings: MediaWorkerSettings, s3: Any, sqs: Any, catalog: MediaRepository) -> None:
        self._settings = settings
        self._catalog = catalog
        self._hold_seconds = settings.media_visibility_timeout_seconds
        protection = TaskProtection(settings.ecs_agent_uri, self._hold_seconds)
        self._heartbeat = Heartbeat(sqs, catalog, protection, self._hold_seconds, settings.heartbeat_seconds)
        self._job = MediaJob(settings, s3, catalog)

    @classmethod
    def open(cls, settings: MediaWorkerSettings) -> "MediaProcess":
        """With clients of its own."""
        # Celery's main process gives back for a child that was killed: here only its files go.
        sweep(settings.media_work_dir, settings.media_visibility_timeout_seconds)
        return cls(
            settings,
            blocking_client("s3", settings, max_attempts=_S3_ATTEMPTS),
            blocking_client("sqs", settings),
            open_catalog(settings.catalog_url.get_secret_value()),
        )

    def process(self, app: str, media_id: str, delivery: Delivery) -> bool:
        """Whether the message is done with. If not, it has been told when to come again."""
        # Before the claim: from here on a killed process leaves word of the message that it held.
        with job_folder(self._settings.media_work_dir, delivery) as folder:
            claim = self._catalog.claim(app, media_id, delivery.message_id, self._hold_seconds)
            if claim is None:
                return self._unclaimed(app, media_id, delivery)
            return self._work(claim, delivery, folder)

    def _work(self, claim: Claim, delivery: Delivery, folder: Path) -> bool:
        extra = {"media_id": claim.media_id, "attempt": claim.attempt}
        log.info("processing", extra=extra | {"kind": claim.kind})
        started = time.monotonic()
        try:
            with self._heartbeat.holding(delivery, claim, folder):
                self._run(claim, folder)
        except ClaimLostError:
            log.warning("claim lost", extra=extra)
            return False
        except Exception as error:  # noqa: BLE001 -- whatever it is, the item must not stay as it is
            return self._failed(claim, delivery, error)
        log.info("ready", extra=extra | {"seconds": round(time.monotonic() - started, 2)})
        return True

    def _run(self, claim: Claim, folder: Path) -> None:
        try:
            self._job.run(claim, folder)
        except SoftTimeLimitExceeded as error:
            minutes = self._settings.media_task_limit_seconds / 60
            raise PermanentError(f"the file takes longer than {minutes:.0f} minutes to work on") from error

    def _unclaimed(self, app: str, media_id: str, delivery: Delivery) -> bool:
        item = self._catalog.get(app, media_id)
        if item is None or item.state in (State.READY, State.FAILED, State.DECLARED):
            return True
        # Another message of the same item is being worked on: look again when its lease has run out.
        wait_seconds = ((item.lease_until_ms or 0) - now_ms()) / 1000
        self._heartbeat.give_back(delivery, max(1, min(self._hold_seconds, int(wait_seconds) + 1)))
        return False

    def _failed(self, claim: Claim, delivery: Delivery, error: Exception) -> bool:
        extra = {"media_id": claim.media_id, "attempt": claim.attempt}
        next_step = after_failure(error, delivery.receive_count, self._settings.media_max_receives)
        if isinstance(next_step, Failed):
            log.warning("failed", extra=extra | {"reason": next_step.reason}, exc_info=error)
            self._catalog.fail(claim, next_step.reason, exhausted=next_step.exhausted)
            if next_step.exhausted:  # one delivery more, which the queue turns into a dead letter
                self._heartbeat.give_back(delivery, 0)
            return not next_step.exhausted
        log.warning("to be tried again", extra=extra, exc_info=error)
        self._catalog.release(claim)
        self._heartbeat.give_back(delivery, next_step.after_seconds)
        return False


def clean_up(settings: MediaWorkerSettings, sqs: Any) -> None:
    """Remove what killed processes left on this machine, and give their messages back.

    Not at once: a poll of the killed process may still be open at the queue, and would swallow them.
    """
    sweep(
        settings.media_work_dir,
        settings.media_visibility_timeout_seconds,
        lambda delivery: change_visibility(sqs, delivery, POLL_SECONDS + 1),
    )


def register(app: Celery, settings: MediaWorkerSettings) -> None:
    """Give the application its task. Each child process opens what it needs when it starts."""
    children: list[MediaProcess] = []

    def open_child(**_: Any) -> None:
        children[:] = [MediaProcess.open(settings)]

    def process_media(task: Any, app_id: str, media_id: str) -> None:
        delivery = Delivery.of_task(task.request.properties)
        if not children[0].process(app_id, media_id, delivery):
            # Neither acknowledged nor requeued: the queue delivers it again at the time it was told.
            raise Reject("to be delivered again", requeue=False)

    worker_process_init.connect(open_child, weak=False)
    app.task(process_media, bind=True, name=TASK_NAME)
