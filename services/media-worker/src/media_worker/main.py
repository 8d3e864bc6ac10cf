"""media-worker: dispatcher, Celery's main process and its children, as one command."""

import asyncio
import logging
import os
import socket
import sys
from collections.abc import Mapping
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any

from kinstream.aws import blocking_client
from kinstream.catalog import WorkRepository, open_work
from kinstream.exporting import export_spans_at_once
from kinstream.live import LivePublisher, open_publisher
from kinstream.readiness import ReadyFile
from kinstream.resources import (
    BUCKET_DERIVED,
    BUCKET_UPLOADS,
    QUEUE_MEDIA,
    QUEUE_MEDIA_LARGE,
    QUEUE_UPLOADS,
    TOPIC_MEDIA,
)
from kinstream.settings import read_settings
from kinstream.startup import CATALOG, buckets, queues, saying_why, wait_for
from kinstream.telemetry import configure_logging
from media_worker.sandbox.kernel import hide_process
from media_worker.settings import MediaWorkerSettings

if TYPE_CHECKING:
    from celery import Celery

    from media_worker.announcing import Announcer
    from media_worker.dispatcher import Dispatcher
    from media_worker.rendition import Rendition
    from media_worker.sending import SendTask
    from media_worker.tasks import MediaProcess

log = logging.getLogger(__name__)

_CHECK_TIMEOUT_SECONDS = 5.0
_S3_ATTEMPTS = 8
"""With their pauses about half a minute: a short absence costs no delivery."""
_TASK_QUEUES = (QUEUE_MEDIA, QUEUE_MEDIA_LARGE)
_TALKATIVE = ("celery.worker.strategy", "celery.app.trace")


def main() -> None:
    """Run until SIGTERM or SIGINT. Work under way gets the grace to finish, then goes back to the queue."""
    # Before any child: what decodes a stranger's file must not read this process's keys.
    hide_process()
    # Read by Celery when it is imported: SIGTERM then means its soft shutdown.
    os.environ["REMAP_SIGTERM"] = "SIGQUIT"
    settings = read_settings(MediaWorkerSettings, "media-worker", "catalog_url")
    configure_logging("media-worker", settings.log_level)
    export_spans_at_once("media-worker", settings)
    for name in _TALKATIVE:  # they tell each task again that the worker tells of itself
        logging.getLogger(name).setLevel(logging.WARNING)
    if settings.aws_endpoint_url:
        # A guard: nothing in this process may ever reach AWS while an emulator is meant.
        os.environ["AWS_ENDPOINT_URL"] = settings.aws_endpoint_url
    with saying_why("media-worker"):
        urls = _wait_for_dependencies(settings)
    sys.exit(_run(settings, urls))


def _wait_for_dependencies(settings: MediaWorkerSettings) -> dict[str, str]:
    """URLs of the queues by their short names, once they, the catalog and the buckets answer."""
    sqs, s3 = (
        blocking_client(name, settings, max_attempts=1, read_timeout_seconds=_CHECK_TIMEOUT_SECONDS)
        for name in ("sqs", "s3")
    )
    catalog = open_work(settings.catalog_url.get_secret_value())
    full_names = {name: settings.names.of(name) for name in (QUEUE_UPLOADS, *_TASK_QUEUES)}
    needs = {
        CATALOG: catalog.check,
        **queues(sqs, full_names.values()),
        **buckets(s3, map(settings.names.of, (BUCKET_UPLOADS, BUCKET_DERIVED))),
    }
    with closing(sqs), closing(s3), closing(catalog):
        found = asyncio.run(wait_for(needs, settings.startup_wait_seconds))
    return {name: found[f"queue {full}"] for name, full in full_names.items()}


def _run(settings: MediaWorkerSettings, urls: dict[str, str]) -> int:
    # Not before REMAP_SIGTERM is set.
    from media_worker import tasks
    from media_worker.celery_app import build_app
    from media_worker.dispatcher import run_beside_worker
    from media_worker.rendition import discover

    sqs = blocking_client("sqs", settings)
    tasks.clean_up(settings, sqs)
    app = build_app(settings, {name: urls[name] for name in _TASK_QUEUES})
    # Loaded before the fork, so that the children share the codecs' memory.
    tasks.register(app, partial(_open_process, settings, app, discover()))
    run_beside_worker(app, partial(_open_dispatcher, settings, app, urls[QUEUE_UPLOADS]))
    try:
        return _serve(app, settings)
    finally:
        tasks.clean_up(settings, sqs)


def _open_process(
    settings: MediaWorkerSettings, app: "Celery", renditions: Mapping[str, "Rendition"]
) -> "MediaProcess":
    """What a child process works with, after its fork."""
    from media_worker.heartbeat import Heartbeat
    from media_worker.job import MediaJob
    from media_worker.protection import TaskProtection
    from media_worker.sandbox import Sandbox
    from media_worker.storage import Storage
    from media_worker.tasks import MediaProcess
    from media_worker.workspace import sweep

    hold_seconds = settings.media_visibility_timeout_seconds
    # Celery's main process gives back for a child that was killed: here only its files go.
    sweep(settings.media_work_dir, hold_seconds)
    catalog = open_work(settings.catalog_url.get_secret_value())
    heartbeat = Heartbeat(
        blocking_client("sqs", settings),
        catalog,
        TaskProtection(settings.ecs_agent_uri, hold_seconds),
        hold_seconds,
        settings.heartbeat_seconds,
    )
    live = open_publisher(settings)
    job = MediaJob(
        settings,
        storage=Storage(blocking_client("s3", settings, max_attempts=_S3_ATTEMPTS), settings.names),
        catalog=catalog,
        sandbox=Sandbox(settings.sandbox_limits),
        renditions=renditions,
        live=live,
    )
    announcer, send_task = _outward(settings, app, catalog, live)
    return MediaProcess(
        settings, catalog=catalog, heartbeat=heartbeat, job=job, announcer=announcer, send_task=send_task
    )


def _open_dispatcher(settings: MediaWorkerSettings, app: "Celery", uploads_url: str) -> "Dispatcher":
    """The dispatcher of the main process."""
    from media_worker.dispatcher import Dispatcher

    catalog = open_work(settings.catalog_url.get_secret_value())
    announcer, send_task = _outward(settings, app, catalog, open_publisher(settings))
    return Dispatcher(
        settings,
        sqs=blocking_client("sqs", settings),
        queue_url=uploads_url,
        catalog=catalog,
        send_task=send_task,
        announcer=announcer,
    )


def _outward(
    settings: MediaWorkerSettings, app: "Celery", catalog: WorkRepository, live: LivePublisher
) -> tuple["Announcer", "SendTask"]:
    from media_worker.announcing import Announcer
    from media_worker.sending import TaskSender

    topic_arn = settings.names.topic_arn(TOPIC_MEDIA)
    announcer = Announcer(blocking_client("sns", settings), topic_arn, catalog, live)
    return announcer, TaskSender(app, settings.names)


def _serve(app: "Celery", settings: MediaWorkerSettings) -> int:
    """Run Celery's worker to its end; the exit code."""
    from celery import signals

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
        queues=[settings.names.of(short) for short in settings.task_queues],
        quiet=True,
        without_mingle=True,
        without_gossip=True,
        without_heartbeat=True,
    )
    try:
        worker.start()
    finally:
        ready.clear()
    # A shutdown that was asked for is no failure, even where work went back to the queue.
    return 0 if stopping else 1
