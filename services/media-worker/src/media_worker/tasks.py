"""The task that Celery runs in a child process: claim the step, work on it, decide what comes after."""

import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from celery import Celery
from celery.exceptions import Reject, SoftTimeLimitExceeded
from celery.signals import worker_process_init
from kombu.exceptions import KombuError

from kinstream.catalog import FINALIZE, MAIN, Claim, Role, Task, WorkRepository
from kinstream.errors import PermanentError, RetryableError
from kinstream.tracing import TRACEPARENT, continued
from media_worker.announcing import Announcer
from media_worker.celery_app import POLL_SECONDS, TASK_NAME
from media_worker.domain.disposition import Failed, after_failure
from media_worker.heartbeat import Heartbeat, change_visibility
from media_worker.job import ClaimLostError, MediaJob
from media_worker.sending import SendTask
from media_worker.settings import MediaWorkerSettings
from media_worker.workspace import Delivery, job_folder, sweep

log = logging.getLogger(__name__)

_AWAY = (BotoCoreError, ClientError, OSError, KombuError, RetryableError)
_FIRST_AWAY_SECONDS, _LONGEST_AWAY_SECONDS = 30, 300


class MediaProcess:
    """One child process: its own clients, opened after the fork."""

    def __init__(
        self,
        settings: MediaWorkerSettings,
        *,
        catalog: WorkRepository,
        heartbeat: Heartbeat,
        job: MediaJob,
        announcer: Announcer,
        send_task: SendTask,
    ) -> None:
        self._settings = settings
        self._catalog = catalog
        self._hold_seconds = settings.media_visibility_timeout_seconds
        self._heartbeat = heartbeat
        self._job = job
        self._announcer = announcer
        self._send_task = send_task

    def process(self, app: str, media_id: str, step: str, delivery: Delivery) -> bool:
        """Whether the message is done with. If not, it has been told when to come again."""
        # Before the claim: from here on a killed process leaves word of the message that it held.
        with job_folder(self._settings.media_work_dir, delivery) as folder:
            try:
                claim = self._claim(app, media_id, step, delivery)
                if claim is not None and not self._work(claim, delivery, folder):
                    return False
                # No claim: it is done, or another message of it is being worked on, or the sweep's to find.
                if step == MAIN or (claim is not None and claim.is_reopened):
                    self._send_parts(app, media_id)
                return self._go_on(app, media_id, delivery, folder)
            except _AWAY as error:
                log.warning("to be looked at again", extra={"error": type(error).__name__})
                self._heartbeat.give_back(delivery, _away_seconds(delivery.receive_count))
                return False

    def _claim(self, app: str, media_id: str, step: str, delivery: Delivery) -> Claim | None:
        return self._catalog.claim(
            app,
            media_id,
            step,
            delivery.message_id,
            self._hold_seconds,
            sent_at_ms=delivery.sent_at_ms,
        )

    def _send_parts(self, app: str, media_id: str) -> None:
        self._send_all(self._catalog.waiting(app, media_id, Role.PART))

    def _send_all(self, tasks: Iterable[Task]) -> None:
        for task in tasks:
            self._send_task(uuid4(), task)

    def _go_on(self, app: str, media_id: str, delivery: Delivery, folder: Path) -> bool:
        """What comes after a step that is over: the last step, and the announcement.

        Comes again with the message of the step, as long as that is not done with.
        """
        claim = self._claim(app, media_id, FINALIZE, delivery)
        if claim is not None and not self._work(claim, delivery, folder):
            return False
        self._announce(app, media_id)
        return True

    def _announce(self, app: str, media_id: str) -> None:
        item = self._catalog.unannounced_item(app, media_id)
        if item is not None:
            self._announcer.announce(item)

    def _work(self, claim: Claim, delivery: Delivery, folder: Path) -> bool:
        extra = {"media_id": claim.media_id, "step": claim.step, "attempt": claim.attempt}
        log.info("processing", extra=extra | {"kind": claim.kind})
        started = time.monotonic()
        try:
            with self._heartbeat.holding(delivery, claim, folder):
                self._run(claim, folder)
        except ClaimLostError:
            log.warning("claim lost", extra=extra)
            return False
        except Exception as error:  # noqa: BLE001 -- whatever it is, the step must not stay as it is
            return self._failed(claim, delivery, error)
        log.info("done", extra=extra | {"seconds": round(time.monotonic() - started, 2)})
        return True

    def _run(self, claim: Claim, folder: Path) -> None:
        # Apart from the note about the message: what decodes may write here.
        files = folder / claim.step
        files.mkdir()
        try:
            self._job.run(claim, files)
        except SoftTimeLimitExceeded as error:
            minutes = self._settings.media_task_limit_seconds / 60
            raise PermanentError(f"the file takes longer than {minutes:.0f} minutes to work on") from error

    def _failed(self, claim: Claim, delivery: Delivery, error: Exception) -> bool:
        extra = {"media_id": claim.media_id, "step": claim.step, "attempt": claim.attempt}
        next_step = after_failure(error, delivery.receive_count, self._settings.media_max_receives)
        if isinstance(next_step, Failed):
            log.warning("failed", extra=extra | {"reason": next_step.reason}, exc_info=error)
            self._catalog.fail(claim, next_step.reason, exhausted=next_step.exhausted)
            if next_step.exhausted:  # one delivery more, which the queue turns into a dead letter
                # If this was an extra: nobody else may come to try the last step.
                self._send_all(self._catalog.waiting(claim.app, claim.media_id, Role.FINALIZE))
                self._announce(claim.app, claim.media_id)
                self._heartbeat.give_back(delivery, 0)
            else:
                self._job.clear(claim)
            return not next_step.exhausted
        log.warning("to be tried again", extra=extra, exc_info=error)
        self._catalog.release(claim)
        self._heartbeat.give_back(delivery, next_step.after_seconds)
        return False


def _away_seconds(receive_count: int) -> int:
    """Longer each time: the deliveries that a message has must outlast a database that fails over."""
    return int(min(_LONGEST_AWAY_SECONDS, _FIRST_AWAY_SECONDS * 2 ** min(receive_count - 1, 8)))


def clean_up(settings: MediaWorkerSettings, sqs: Any) -> None:
    """Remove what killed processes left on this machine, and give their messages back.

    Not at once: a poll of the killed process may still be open at the queue, and would swallow them.
    """
    sweep(
        settings.media_work_dir,
        settings.media_visibility_timeout_seconds,
        lambda delivery: change_visibility(sqs, delivery, POLL_SECONDS + 1),
    )


def register(app: Celery, open_process: Callable[[], MediaProcess]) -> None:
    """Give the application its task. Each child process opens what it needs when it starts."""
    children: list[MediaProcess] = []

    def open_child(**_: Any) -> None:
        children[:] = [open_process()]

    def process_media(task: Any, app_id: str, media_id: str, step: str = MAIN) -> None:
        delivery = Delivery.of_task(task.request.properties)
        with continued("work on media", task.request.get(TRACEPARENT) or "", step=step):
            is_done = children[0].process(app_id, media_id, step, delivery)
        if not is_done:
            # Neither acknowledged nor requeued: the queue delivers it again at the time it was told.
            raise Reject("to be delivered again", requeue=False)

    worker_process_init.connect(open_child, weak=False)
    app.task(process_media, bind=True, name=TASK_NAME)
