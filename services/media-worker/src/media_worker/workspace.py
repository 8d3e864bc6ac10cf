"""Folders for files that are being worked on, gone when the work ends, however it ends.

Beside the files lies a note of the message that they belong to, which its process keeps locked for as long
as it lives. Whoever finds the folder of a process that was killed gives the message back, instead of leaving
it to its timeout. The kernel holds the locks, so workers in several containers may share one folder: they do
not see each other's processes.
"""

import fcntl
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
    with ExitStack() as held:
        with _alone(root):
            # The number is for people: whether the process lives is told by its lock.
            folder = tempfile.TemporaryDirectory(dir=root, prefix=f"{_PREFIX}{os.getpid()}-")
            note = held.enter_context((Path(folder.name) / _NOTE).open("w"))
            # The folder goes before its lock does.
            held.enter_context(folder)
            fcntl.flock(note, fcntl.LOCK_EX)
        json.dump(asdict(delivery), note)
        note.flush()
        # Decoders write into the folder, and must not reach the note.
        files = Path(folder.name) / "files"
        files.mkdir()
        yield files


def note_alive(folder: Path) -> None:
    """Say that the folder's message is still held; its note counts only while it is fresh."""
    with suppress(OSError):
        os.utime(folder.parent / _NOTE)


def sweep(root: Path, hold_seconds: float, give_back: Callable[[Delivery], None] | None = None) -> None:
    """Remove what killed processes left behind, giving back the messages they held.

    Without `give_back` the messages are left to whoever gives back for those processes.
    """
    if not root.is_dir():
        return
    left = []
    with _alone(root):
        for folder in root.glob(f"{_PREFIX}*"):
            if not _is_held(folder / _NOTE):
                left.append(_left_behind(folder / _NOTE, hold_seconds))
                shutil.rmtree(folder, ignore_errors=True)
    for delivery in left:
        if delivery and give_back:
            give_back(delivery)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """While nobody else makes a folder, or sweeps: a new folder is not locked from its very start."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _is_held(note: Path) -> bool:
    """Whether the process that wrote the note lives, on whichever side of a container's wall."""
    try:
        with note.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _left_behind(note: Path, hold_seconds: float) -> Delivery | None:
    try:
        # An older note's message has been delivered to somebody else by now.
        if time.time() - note.stat().st_mtime > hold_seconds:
            return None
        return Delivery(**json.loads(note.read_text()))
    except (OSError, ValueError, TypeError):
        return None
