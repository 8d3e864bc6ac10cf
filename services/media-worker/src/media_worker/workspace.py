"""Folders for files that are being worked on, gone when the work ends, however it ends.

Beside the files lies a note of the message that they belong to. Whoever finds the folder of a process
that was killed gives the message back, instead of leaving it to its timeout.
"""

import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kinstream.processes import is_alive

_PREFIX = "job-"
_NOTE = "delivery.json"


@dataclass(frozen=True, slots=True)
class Delivery:
    """One delivery of a message. `receipt` is good for this one alone, `message_id` stays the same."""

    message_id: str
    queue_url: str
    receipt: str
    receive_count: int
    sent_at_ms: int | None = None
    """None where the queue did not say."""

    @classmethod
    def of_task(cls, properties: dict[str, Any]) -> "Delivery":
        """From the properties of a Celery request, where kombu leaves what SQS said."""
        info = properties["delivery_info"]
        message = info["sqs_message"]
        told = message.get("Attributes", {})
        return cls(
            message_id=message["MessageId"],
            queue_url=info["sqs_queue"],
            receipt=message["ReceiptHandle"],
            receive_count=int(told.get("ApproximateReceiveCount", 1)),
            sent_at_ms=int(told["SentTimestamp"]) if "SentTimestamp" in told else None,
        )


@contextmanager
def job_folder(root: Path, delivery: Delivery) -> Iterator[Path]:
    """An empty folder for this delivery's files, removed at the end."""
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=f"{_PREFIX}{os.getpid()}-") as name:
        (Path(name) / _NOTE).write_text(json.dumps(asdict(delivery)))
        # Decoders write into the folder, and must not reach the note.
        files = Path(name) / "files"
        files.mkdir()
        yield files


def note_alive(folder: Path) -> None:
    """Say that the folder's message is still held; its note counts only while it is fresh."""
    with suppress(OSError):
        os.utime(folder.parent / _NOTE)


def sweep(root: Path, hold_seconds: float, give_back: Callable[[Delivery], None] | None = None) -> None:
    """Remove what killed processes of this machine left behind, giving back the messages they held.

    Without `give_back` the messages are left to whoever gives back for those processes.
    """
    for folder in root.glob(f"{_PREFIX}*-*"):
        pid = folder.name.removeprefix(_PREFIX).partition("-")[0]
        if not pid.isdecimal() or is_alive(int(pid)):
            continue
        delivery = _left_behind(folder / _NOTE, hold_seconds)
        shutil.rmtree(folder, ignore_errors=True)
        if delivery and give_back:
            give_back(delivery)


def _left_behind(note: Path, hold_seconds: float) -> Delivery | None:
    try:
        # An older note's message has been delivered to somebody else by now.
        if time.time() - note.stat().st_mtime > hold_seconds:
            return None
        return Delivery(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):
        return None
