"""The archive processor: under the date of the event, and nothing lost by a worker that is killed."""

import io
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from kinstream.aws import blocking_client
from kinstream.chunks import Chunk, encode_chunk
from kinstream.events import format_time_ms, parse_time_ms
from kinstream.resources import BUCKET_ARCHIVE
from kinstream.settings import CoreSettings
from kinstream_devkit.processors import processor_queues
from kinstream_devkit.provision import provision
from session_worker.processors.archive import Archive
from tests.support.engine import event
from tests.support.stack import eventually

DAY_MS = 86_400_000
MESSAGES, EVENTS_A_MESSAGE = 25, 4


def test_late_events_lie_under_the_date_on_which_they_occurred():
    arrived_ms = parse_time_ms("2026-11-20T12:00:00Z")
    events = [
        event(occurred_at="2026-10-09T23:59:59.999Z", received_at_ms=arrived_ms),
        event(occurred_at="2026-10-10T01:00:00.000+01:00", received_at_ms=arrived_ms),
        event(occurred_at="2026-11-20T11:59:00.000Z", received_at_ms=arrived_ms),
    ]
    files = list(Archive().files("batch", {"demo": events}))
    assert [file.key for file in files] == [
        f"events/app=demo/dt={date}/batch.parquet" for date in ("2026-10-09", "2026-10-10", "2026-11-20")
    ]


def test_an_event_whose_time_is_not_believed_lies_under_the_date_of_its_arrival():
    arrived_ms = parse_time_ms("2026-11-20T12:00:00Z")
    old = event(
        occurred_at=format_time_ms(arrived_ms - 400 * DAY_MS), received_at_ms=arrived_ms, counted=False
    )
    (file,) = Archive().files("batch", {"demo": [old]})
    assert file.key == "events/app=demo/dt=2026-11-20/batch.parquet"


class Deployment:
    """The archive's queue and bucket, and workers that run the archive processor alone."""

    def __init__(self, settings: CoreSettings, folder: Path, hold_seconds: int = 60) -> None:
        self._settings = settings
        self._folder = folder
        self._sqs = blocking_client("sqs", settings)
        self._s3 = blocking_client("s3", settings)
        self._bucket = settings.names.of(BUCKET_ARCHIVE)
        name = settings.names.processor_queue("archive")
        self._queue = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        self._sqs.set_queue_attributes(
            QueueUrl=self._queue, Attributes={"VisibilityTimeout": str(hold_seconds)}
        )

    def send(self, prefix: str = "e-", messages: int = MESSAGES) -> set[str]:
        """Put events into the queue; their ids."""
        ids = set()
        for number in range(messages):
            events = [event(id=f"{prefix}{number}-{n}") for n in range(EVENTS_A_MESSAGE)]
            body = encode_chunk(Chunk(app="demo", events=events))
            self._sqs.send_message(QueueUrl=self._queue, MessageBody=body)
            ids |= {one.id for one in events}
        return ids

    def in_hand(self) -> int:
        """Messages that a worker holds."""
        return self._attribute("ApproximateNumberOfMessagesNotVisible")

    def left(self) -> int:
        """Messages that are not done with."""
        return self.in_hand() + self._attribute("ApproximateNumberOfMessages")

    def _attribute(self, name: str) -> int:
        answer = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=[name])
        return int(answer["Attributes"][name])

    def files(self) -> list[str]:
        """Keys of the archive's files."""
        answer: Any = self._s3.list_objects_v2(Bucket=self._bucket, Prefix="events/")
        return [entry["Key"] for entry in answer.get("Contents", [])]

    def archived(self) -> list[str]:
        """Ids of the archived events, repetitions included."""
        found: list[str] = []
        for key in self.files():
            try:
                body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except self._s3.exceptions.NoSuchKey:
                return self.archived()  # merged since it was listed
            found += pq.read_table(io.BytesIO(body), columns=["id"])["id"].to_pylist()
        return found

    @contextmanager
    def worker(self, linger_seconds: float) -> Iterator[subprocess.Popen[bytes]]:
        """A running worker, which is killed in the end."""
        ready = self._folder / f"ready-{time.monotonic_ns()}"
        environment = os.environ | {
            "KINSTREAM_NAME_PREFIX": self._settings.name_prefix,
            "KINSTREAM_AWS_ENDPOINT_URL": str(self._settings.aws_endpoint_url),
            "KINSTREAM_LEDGER_HASH_KEY": "a key for tests",
            "KINSTREAM_PROCESSORS": "archive",
            "KINSTREAM_ARCHIVE_LINGER_SECONDS": str(linger_seconds),
            "KINSTREAM_READY_FILE": str(ready),
            "KINSTREAM_LOG_LEVEL": "WARNING",
        }
        process = subprocess.Popen([sys.executable, "-m", "session_worker.main"], env=environment)
        try:
            eventually(ready.exists, "the worker is ready")
            yield process
        finally:
            process.kill()
            process.wait()


def test_a_worker_killed_between_buffer_and_upload_loses_nothing(settings: CoreSettings, tmp_path: Path):
    provision(settings, processor_queues())
    # What the dead worker held is to be seen again within the test's patience.
    deployment = Deployment(settings, tmp_path, hold_seconds=5)
    sent = deployment.send()
    with deployment.worker(linger_seconds=40):
        # All of it is in the worker's memory, and nothing in S3: now it is killed.
        eventually(lambda: deployment.in_hand() == MESSAGES, "the worker holds everything")
        assert deployment.archived() == []
    with deployment.worker(linger_seconds=1):
        eventually(lambda: deployment.left() == 0, "the next worker has archived everything")
    assert set(deployment.archived()) == sent


def test_a_running_worker_merges_the_small_files_of_its_archive_by_itself(settings, tmp_path, monkeypatch):
    provision(settings, processor_queues())
    monkeypatch.setenv("KINSTREAM_COMPACTION_INTERVAL_SECONDS", "0.5")
    monkeypatch.setenv("KINSTREAM_COMPACTION_SETTLE_SECONDS", "0")
    monkeypatch.setenv("KINSTREAM_COMPACTION_GRACE_SECONDS", "0.5")
    monkeypatch.setenv("KINSTREAM_TRAINING_MAX_RUN_SECONDS", "0.5")
    deployment = Deployment(settings, tmp_path)
    with deployment.worker(linger_seconds=0.1):
        sent = {
            event_id
            for number in range(10)
            for event_id in deployment.send(f"{number}-", messages=1)
            if eventually(lambda: deployment.left() == 0, "the worker has archived them") is None
        }
        eventually(lambda: 0 < len(deployment.files()) < 8, "the worker has merged them")
        eventually(lambda: sorted(deployment.archived()) == sorted(sent), "and deleted the old files")
