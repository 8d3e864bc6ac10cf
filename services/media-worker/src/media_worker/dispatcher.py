"""From S3's notifications to Celery tasks, and a look now and then for items that nobody works on.

Guarantee: a notification is deleted only after the item is marked and its task is sent. A crash in
between repeats both, which changes nothing: the task's id depends on the object alone, and an item is
claimed once at a time.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from botocore.exceptions import BotoCoreError, ClientError
from celery import Celery, bootsteps
from kombu.exceptions import KombuError
from opentelemetry.trace import SpanKind

from kinstream.catalog import MAIN, Abandoned, Role, StepState, Task, WorkRepository
from kinstream.catalog.keys import parse_original_key
from kinstream.clock import now_ms
from kinstream.errors import PermanentError, RetryableError
from kinstream.resources import QUEUE_MEDIA
from kinstream.tracing import begun
from media_worker.announcing import Announcer
from media_worker.domain.disposition import exhausted_reason
from media_worker.domain.notifications import Created, Ordered, requests
from media_worker.sending import SendTask
from media_worker.settings import MediaWorkerSettings

log = logging.getLogger(__name__)

_AWAY = (BotoCoreError, ClientError, OSError, KombuError, RetryableError)
_POLL_SECONDS = 5
_HOLD_SECONDS = 20
_LONGEST_PAUSE_SECONDS = 10.0
_LONGEST_WAIT_SECONDS = 3_600
"""An upload that waited so long for its turn is announced again, in case its task was lost."""
_ANNOUNCED_BY_ITSELF_MS = 30_000
"""So long a worker has to announce what it finished before the sweep does."""
_LOST = "the worker was lost or killed each time"


class Dispatcher:
    """Consumes S3's notifications in one thread until it is told to stop."""

    def __init__(
        self,
        settings: MediaWorkerSettings,
        *,
        sqs: Any,
        queue_url: str,
        catalog: WorkRepository,
        send_task: SendTask,
        announcer: Announcer,
    ) -> None:
        self._settings = settings
        self._sqs = sqs
        self._queue_url = queue_url
        self._catalog = catalog
        self._send_task = send_task
        self._announcer = announcer
        self._sweep_at_seconds = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. What is away is waited for, with pauses that grow to 10 s."""
        failures = 0
        while not stop.is_set():
            try:
                self.step()
                failures = 0
            except Exception as error:
                failures += 1
                expected = isinstance(error, _AWAY)
                log.log(
                    logging.WARNING if expected else logging.ERROR,
                    "dispatcher waits",
                    extra={"error": type(error).__name__, "failures": failures},
                    exc_info=None if expected else error,
                )
                stop.wait(min(_LONGEST_PAUSE_SECONDS, 0.25 * 2 ** min(failures, 10)))

    def step(self) -> None:
        """One poll of the queue, and the sweep if it is due."""
        # While the catalog is away nothing is received: notifications have so many deliveries and no more.
        self._catalog.check()
        if time.monotonic() >= self._sweep_at_seconds:
            self.sweep()
            self._sweep_at_seconds = time.monotonic() + self._settings.media_sweep_interval_seconds
        answer = self._sqs.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=10,
            WaitTimeSeconds=_POLL_SECONDS,
            VisibilityTimeout=_HOLD_SECONDS,
        )
        for message in answer.get("Messages", []):
            self._handle(message)

    def sweep(self) -> None:
        """Restart, or fail after too many tries, what was begun and is not worked on any more; announce what
        is finished and was not announced."""
        silent_seconds = self._settings.media_visibility_timeout_seconds
        while some := self._catalog.take_abandoned(silent_seconds, _LONGEST_WAIT_SECONDS):
            self._send_again(some)
        self._announcer.sweep(now_ms() - _ANNOUNCED_BY_ITSELF_MS)

    def _send_again(self, abandoned: Sequence[Abandoned]) -> None:
        for one in abandoned:
            if one.state == StepState.PROCESSING and one.tries >= self._settings.media_max_receives:
                self._catalog.fail(one.hold, exhausted_reason(one.tries, _LOST), exhausted=True)
                # If this was an extra: nobody else may come to try the last step.
                for last in self._catalog.waiting(one.hold.app, one.hold.media_id, Role.FINALIZE):
                    self._send_task(uuid4(), last)
                log.warning("abandoned step given up", extra={"media_id": one.hold.media_id})
            else:
                self._send_task(uuid4(), one.task)
                log.warning("abandoned step sent again", extra={"media_id": one.hold.media_id})

    def _handle(self, message: Mapping[str, Any]) -> None:
        try:
            for wanted in requests(message["Body"]):
                with begun("dispatch media", self._settings.traced_share, SpanKind.CONSUMER):
                    self._dispatch(wanted)
        except PermanentError as error:
            # Not deleted: the queue's redrive policy puts it where somebody can look at it.
            log.error("notification not understood", extra={"error": str(error)})  # noqa: TRY400 -- no trace needed
            return
        self._sqs.delete_message(QueueUrl=self._queue_url, ReceiptHandle=message["ReceiptHandle"])

    def _dispatch(self, wanted: Created | Ordered) -> None:
        if isinstance(wanted, Ordered):
            self._send_task(uuid4(), Task(wanted.app, wanted.media_id, wanted.step, QUEUE_MEDIA))
            return
        found = parse_original_key(wanted.key)
        if found is None:
            log.warning("object under a key that no upload has")
            return
        app, media_id = found
        if self._catalog.mark_uploaded(app, media_id, wanted.size_bytes):
            self._send_task(wanted.task_id, Task(app, media_id, MAIN, QUEUE_MEDIA))
            log.info("upload dispatched", extra={"media_id": media_id, "bytes": wanted.size_bytes})


def run_beside_worker(app: Celery, build: Callable[[], Dispatcher]) -> None:
    """Let the Celery worker run a dispatcher in a thread of its main process, from start to stop."""

    class DispatcherStep(bootsteps.StartStopStep):  # type: ignore[misc]
        # After the pool: its first children are forked before there is another thread.
        requires = ("celery.worker.components:Pool",)

        def __init__(self, worker: Any, **options: Any) -> None:
            super().__init__(worker, **options)
            self._stop = threading.Event()
            self._thread: threading.Thread | None = None

        def start(self, _worker: Any) -> None:
            dispatcher = build()
            self._thread = threading.Thread(
                target=dispatcher.run, args=(self._stop,), name="dispatcher", daemon=True
            )
            self._thread.start()

        def stop(self, _worker: Any) -> None:
            # Not joined for long: a poll that is under way loses nothing, its messages come again.
            self._stop.set()
            if self._thread:
                self._thread.join(1.0)

        terminate = stop

    app.steps["worker"].add(DispatcherStep)
