"""Folders of work, and what is left of them when a process is killed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from media_worker.workspace import Delivery, job_folder, note_alive, sweep

DELIVERY = Delivery("m1", "http://queue", "receipt", 1)


def left_by_a_dead_process(root: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
    )
    with job_folder(root, DELIVERY) as folder:
        left = root / f"job-{int(done.stdout)}-abc"
        left.mkdir()
        (left / "delivery.json").write_bytes((folder.parent / "delivery.json").read_bytes())
    return left


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
