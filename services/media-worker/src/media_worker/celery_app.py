"""Celery as it is sound on SQS: each setting here closes a way in which a task could be lost.

Tasks are acknowledged after they are done, never for having failed; state lives in the catalog, so
there is no result backend; the queue's redrive policy counts the deliveries.
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from kombu.entity import Queue

from media_worker import safe_sqs
from media_worker.settings import MediaWorkerSettings

TASK_NAME = "media_worker.process_media"

POLL_SECONDS = 5
"""How long a poll of the queue waits for a message."""

_HARD_LIMIT_EXTRA_SECONDS = 60
_SHUTDOWN_RESERVE_SECONDS = 3.0


def build_app(settings: MediaWorkerSettings, queue_urls: Mapping[str, str]) -> Celery:
    """The application, bound to the queues of media tasks (short name and URL). Nothing is connected yet.

    It can send to all of them; which ones a worker takes from, the worker is told.
    """
    safe_sqs.install()
    app = Celery("media_worker", broker=_broker_url(settings), set_as_current=False)
    app.conf.update(_configuration(settings, queue_urls))
    return app


def _configuration(settings: MediaWorkerSettings, queue_urls: Mapping[str, str]) -> dict[str, Any]:
    names = [settings.names.of(short) for short in queue_urls]
    return {
        "task_queues": [Queue(name, routing_key=name) for name in names],  # type: ignore[no-untyped-call]
        "task_default_queue": names[0],
        "task_default_routing_key": names[0],
        "task_create_missing_queues": False,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "task_acks_on_failure_or_timeout": False,
        "task_ignore_result": True,
        "task_track_started": False,
        "task_soft_time_limit": settings.media_task_limit_seconds,
        "task_time_limit": settings.media_task_limit_seconds + _HARD_LIMIT_EXTRA_SECONDS,
        "worker_pool": "prefork",
        "worker_concurrency": settings.media_concurrency,
        "worker_prefetch_multiplier": 1,
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        # What is still at work after the grace is given back to the queue.
        "worker_soft_shutdown_timeout": max(0.5, settings.shutdown_grace_seconds - _SHUTDOWN_RESERVE_SECONDS),
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "region": settings.aws_region,
            "is_secure": settings.aws_endpoint_url is None or settings.aws_endpoint_url.startswith("https"),
            "predefined_queues": {
                settings.names.of(short): {"url": url} for short, url in queue_urls.items()
            },
            "visibility_timeout": settings.media_visibility_timeout_seconds,
            "wait_time_seconds": POLL_SECONDS,
            # The count of receives comes without being asked for.
            "fetch_message_attributes": {"MessageSystemAttributeNames": ["SentTimestamp"]},
            # Between polls that found nothing: while SQS is away they fail at once.
            "polling_interval": 0.25,
            "client-config": {"connect_timeout": 3, "read_timeout": 30},
        },
    }


def _broker_url(settings: MediaWorkerSettings) -> str:
    # Only the host of the URL decides where kombu sends to; without one it is AWS itself.
    if not settings.aws_endpoint_url:
        return f"{safe_sqs.SCHEME}://"
    place = urlsplit(settings.aws_endpoint_url).netloc
    # As kinstream.aws does; without a name kombu signs as AWS's own clients do.
    signer = "" if settings.aws_endpoint_checks_iam else "local:local@"
    return f"{safe_sqs.SCHEME}://{signer}{place}//"
