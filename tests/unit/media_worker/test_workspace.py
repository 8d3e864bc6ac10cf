"""Folders of work, and what is left of them when a process is killed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from media_worker.workspace import Delivery, job_folder, note_alive, sweep

DELIVERY = Delivery("m1", "http://queue", "receipt", 1)


WORKER = """
import sys, time
from pathlib import Path
from media_worker.workspace import Delivery, job_folder
with job_folder(Path(sys.argv[1]), Delivery("m1", "http://queue", "receipt", 1)) as folder:
    (folder / "original").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(600)
"""


@contextmanager
def another_worker(root: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process at work, and the folder of its job."""
    command = [sys.executable, "-c", WORKER, str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as worker:
        assert worker.stdout
        try:
            yield worker, Path(worker.stdout.readline().strip()).parent
        finally:
            worker.kill()


def left_by_a_dead_process(root: Path) -> Path:
    with another_worker(root) as (_, folder):
        pass
    assert (folder / "files/original").exists()
    return folder


def test_folder_is_gone_after_the_work_also_when_it_fails(tmp_path: Path) -> None:
    def work() -> None:
        with job_folder(tmp_path / "work", DELIVERY) as folder:
            (folder / "original").write_bytes(b"x")
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        work()
    assert list((tmp_path / "work").iterdir()) == []


def test_sweep_removes_what_the_dead_left_and_gives_their_messages_back(tmp_path: Path) -> None:
    left = left_by_a_dead_process(tmp_path)
    given: list[Delivery] = []
    with job_folder(tmp_path, DELIVERY) as mine:
        sweep(tmp_path, 60, given.append)
        assert mine.exists()
    assert not left.exists()
    assert given == [DELIVERY]


def test_sweep_leaves_the_folder_of_a_process_that_lives_wherever_it_runs(tmp_path: Path) -> None:
    given: list[Delivery] = []
    # Of its number nothing is known, as of a process in another container.
    with another_worker(tmp_path) as (worker, folder):
        sweep(tmp_path, 60, given.append)
        assert (folder / "files/original").exists()
        worker.kill()
        worker.wait()
        sweep(tmp_path, 60, given.append)
    assert not folder.exists()
    assert given == [DELIVERY]


def test_sweep_where_nothing_was_worked_on_yet_does_nothing(tmp_path: Path) -> None:
    sweep(tmp_path / "work", 60)
    assert not (tmp_path / "work").exists()


def test_folder_of_the_files_is_empty_and_its_note_is_kept_fresh_beside_it(tmp_path: Path) -> None:
    with job_folder(tmp_path, DELIVERY) as folder:
        assert list(folder.iterdir()) == []
        note = folder.parent / "delivery.json"
        os.utime(note, (0, 0))
        note_alive(folder)
        assert note.stat().st_mtime > 0


def test_message_of_an_old_note_is_left_alone(tmp_path: Path) -> None:
    left = left_by_a_dead_process(tmp_path)
    os.utime(left / "delivery.json", (0, 0))
    given: list[Delivery] = []
    sweep(tmp_path, 60, given.append)
    assert given == []
    assert not left.exists()


def test_delivery_tells_when_and_how_often_it_was_sent_as_the_queue_says() -> None:
    message = {"MessageId": "m1", "ReceiptHandle": "r1"}
    told = {"ApproximateReceiveCount": "3", "SentTimestamp": "1700000000000"}

    def delivery(**more: object) -> Delivery:
        return Delivery.of_task({"delivery_info": {"sqs_queue": "q", "sqs_message": message | more}})

    assert delivery(Attributes=told) == Delivery("m1", "q", "r1", 3, 1_700_000_000_000)
    assert delivery() == Delivery("m1", "q", "r1", 1, None)
