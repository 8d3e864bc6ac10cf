"""Sending tasks where sending fails."""

import gc
import uuid
from collections.abc import Iterator
from urllib.parse import urlsplit

import psutil
import pytest
from botocore.exceptions import ClientError

from kinstream.aws import blocking_client
from kinstream.catalog import MAIN, Task
from kinstream.resources import QUEUE_MEDIA
from media_worker.celery_app import build_app
from media_worker.sending import TaskSender
from media_worker.settings import MediaWorkerSettings

TASK = Task("demo", "m1", MAIN, QUEUE_MEDIA)


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is closed for having been forgotten; what other tests forgot is closed before."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
def test_connection_that_failed_is_closed_and_the_next_call_begins_anew(
    endpoint: str, name_prefix: str
) -> None:
    settings = MediaWorkerSettings(name_prefix=name_prefix, aws_endpoint_url=endpoint)
    sqs = blocking_client("sqs", settings)
    name = settings.names.of(QUEUE_MEDIA)
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    sqs.delete_queue(QueueUrl=url)
    sqs.close()
    sender = TaskSender(build_app(settings, {QUEUE_MEDIA: url}), settings.names)

    for _ in range(3):
        with pytest.raises(ClientError, match="NonExistentQueue"):
            sender(uuid.uuid4(), TASK)
    assert open_connections(endpoint) == 0

    sqs.create_queue(QueueName=name)
    sender(uuid.uuid4(), TASK)
    assert "Messages" in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=20)
    sqs.close()


def open_connections(url: str) -> int:
    """Of this process, to a server."""
    port = urlsplit(url).port
    found = psutil.Process().net_connections("tcp")
    return sum(one.status == psutil.CONN_ESTABLISHED and one.raddr.port == port for one in found)
