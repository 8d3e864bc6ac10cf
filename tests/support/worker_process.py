"""The session-worker as a process of its own, with processors that no release has."""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from kinstream.aws import blocking_client
from kinstream.events import Event
from kinstream.resources import DEAD_LETTER_SUFFIX, ProcessorQueue
from kinstream.settings import CoreSettings
from kinstream_devkit.embedded.emulator import console_script
from kinstream_devkit.provision import provision
from session_worker.processor import discover
from tests.support.engine import message
from tests.support.repository import ROOT

_STOP_SECONDS = 120
_LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")


class WorkerProcess:
    """A worker that is started again whenever it ends, as every deployment does."""

    def __init__(self, command: Path, environment: Mapping[str, str], log_file: Path) -> None:
        self._command = command
        self._environment = environment
        self._log_file = log_file
        self.exit_codes: list[int] = []
        self._process = self._start()

    def look_after(self) -> None:
        """Start it again if it has ended."""
        code = self._process.poll()
        if code is not None:
            self.exit_codes.append(code)
            self._process = self._start()

    def stop(self) -> int:
        """Its exit code after SIGTERM."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(_STOP_SECONDS)

    def kill(self) -> None:
        """End what is left of it."""
        self._process.kill()
        self._process.wait()

    def logged(self, level: str) -> list[dict[str, Any]]:
        """What it has logged at this level, whichever of its lives."""
        lines = [json.loads(line) for line in self._log_file.read_text().splitlines() if line[:1] == "{"]
        return [line for line in lines if line["level"] == level]

    def _start(self) -> subprocess.Popen[bytes]:
        with self._log_file.open("ab") as log:
            return subprocess.Popen(
                [self._command], env=dict(self._environment), stdout=log, stderr=subprocess.STDOUT
            )


@contextmanager
def worker_process(
    settings: CoreSettings,
    folder: Path,
    source: str,
    queues: list[ProcessorQueue],
    variables: Mapping[str, str],
) -> Iterator[WorkerProcess]:
    """A worker that has the processors in `source` beside the built-in ones, on resources of its own.

    `queues` are those that the processors in `source` need.
    """
    provision(settings, [*(processor.resource() for processor in discover()), *queues])
    code = folder / "code"
    shutil.copytree(ROOT / "services/session-worker/src", code, ignore=_LEFT_OUT)
    (code / "session_worker/processors/of_the_test.py").write_text(source)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(code), os.environ.get("PYTHONPATH", "")]),
        "KINSTREAM_NAME_PREFIX": settings.name_prefix,
        "KINSTREAM_AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "KINSTREAM_LEDGER_HASH_KEY": settings.ledger_hash_key.get_secret_value(),
        "KINSTREAM_READY_FILE": str(folder / "ready"),
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        **variables,
    }
    process = WorkerProcess(console_script("session-worker"), environment, folder / "worker.log")
    try:
        yield process
    finally:
        process.kill()


class Queues:
    """The processors' queues, from a sender's side."""

    def __init__(self, sqs: Any, settings: CoreSettings) -> None:
        self._sqs = sqs
        self._names = settings.names

    def send(self, processor: str, *events: Event) -> str:
        """Send a chunk to one processor; its body."""
        body = message(events).body
        self._sqs.send_message(QueueUrl=self._url(processor), MessageBody=body)
        return body

    def put_aside(self, processor: str) -> list[str]:
        """Bodies in the dead-letter queue, removed from it."""
        url = self._url(processor, DEAD_LETTER_SUFFIX)
        found = self._sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])
        for one in found:
            self._sqs.delete_message(QueueUrl=url, ReceiptHandle=one["ReceiptHandle"])
        return [one["Body"] for one in found]

    def _url(self, processor: str, suffix: str = "") -> str:
        name = self._names.processor_queue(processor) + suffix
        return str(self._sqs.get_queue_url(QueueName=name)["QueueUrl"])


@contextmanager
def queues_of(settings: CoreSettings) -> Iterator[Queues]:
    """The queues of a deployment."""
    with closing(blocking_client("sqs", settings)) as sqs:
        yield Queues(sqs, settings)
