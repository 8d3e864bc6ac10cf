"""media-worker: dispatcher, Celery's main process and its children, as one command."""

import logging
import os
import socket
import sys
import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.aws import blocking_client
from kinstream.catalog import open_catalog
from kinstream.errors import RetryableError
from kinstream.readiness import ReadyFile
from kinstream.resources import QUEUE_MEDIA, QUEUE_UPLOADS
from kinstream.settings import read_settings
from kinstream.telemetry import configure_logging
from media_worker.settings import MediaWorkerSettings

log = logging.getLogger(__name__)

_LONGEST_PAUSE_SECONDS = 2.0
_TALKATIVE = ("celery.worker.strategy", "celery.app.trace")


def main() -> None:
    """Run until SIGTERM or SIGINT. Work under way gets the grace to finish, then goes back to the queue."""
    # Read by Celery when it is imported: SIGTERM then means its soft shutdown.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    settings = read_settings(MediaWorkerSettings, "media-worker")
    configure_logging("media-worker", settings.log_level)
    for name in _TALKATIVE:  # they tell each task again that the worker tells of itself
        logging.getLogger(name).setLevel(logging.WARNING)
    if settings.aws_endpoint_url:
        # A guard: nothing in this process may ever reach AWS while an emulator is meant.
        os.environ["AWS_ENDPOINT_URL"] = settings.aws_endpoint_url
    try:
        urls = _wait_for_dependencies(settings)
    except (BotoCoreError, ClientError, RetryableError, OSError) as error:
        log.error("not started: %s", error)  # noqa: TRY400 -- one sentence for the person who starts it
        sys.exit(1)
    sys.exit(_run(settings, *urls))


def _wait_for_dependencies(settings: MediaWorkerSettings) -> tuple[str, str]:
    """(URL of the uploads queue, URL of the media queue), once they and the catalog answer."""
    sqs = blocking_client("sqs", settings, max_attempts=1)
    catalog = open_catalog(settings.catalog_url.get_secret_value())
    deadline = time.monotonic() + settings.startup_wait_seconds
    pause = 0.1
    try:
        while True:
            try:
                uploads, media = (
                    sqs.get_queue_url(QueueName=settings.names.of(name))["QueueUrl"]
                    for name in (QUEUE_UPLOADS, QUEUE_MEDIA)
                )
                catalog.check()
            except (BotoCoreError, ClientError, RetryableError, OSError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(pause)
                pause = min(_LONGEST_PAUSE_SECONDS, pause * 2)
            else:
                return uploads, media
    finally:
        catalog.close()
        sqs.close()


def _run(settings: MediaWorkerSettings, uploads_url: str, media_url: str) -> int:
    # Not before REMAP_SIGTERM is set.
    from celery import signals

    from media_worker import tasks
    from media_worker.celery_app import build_app
    from media_worker.dispatcher import Dispatcher, TaskSender, run_beside_worker

    sqs = blocking_client("sqs", settings)
    tasks.clean_up(settings, sqs)
    app = build_app(settings, media_url)
    tasks.register(app, settings)

    def build_dispatcher() -> Dispatcher:
        return Dispatcher(
            settings,
            sqs,
            uploads_url,
            open_catalog(settings.catalog_url.get_secret_value()),
            TaskSender(app),
        )

    run_beside_worker(app, build_dispatcher)
    ready = ReadyFile(settings.ready_file)

    def keep_logging(**_: Any) -> None:
        """With a receiver here, Celery leaves the logging as it is."""

    def mark_ready(**_: Any) -> None:
        ready.mark()
        log.info("ready", extra={"children": settings.media_concurrency})

    stopping: list[bool] = []

    def mark_stopping(**_: Any) -> None:
        stopping.append(True)
        ready.clear()

    signals.setup_logging.connect(keep_logging)
    signals.worker_ready.connect(mark_ready)
    signals.worker_shutting_down.connect(mark_stopping)
    worker = app.Worker(
        hostname=f"media-worker@{socket.gethostname()}",
        quiet=True,
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
    )
    try:
        worker.start()
    finally:
        ready.clear()
        tasks.clean_up(settings, sqs)
    # A shutdown that was asked for is no failure, even where work went back to the queue.
    return 0 if stopping else 1
