"""Children are kept running, and stopped in order."""

import os
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
import pytest

from kinstream.errors import PermanentError
from kinstream_devkit.embedded.supervisor import ChildSpec, Supervisor
from tests.support.stack import eventually

_RUNS = "import pathlib, sys, time; pathlib.Path(sys.argv[1]).touch(); time.sleep(600)"
_TELLS_WHEN_IT_STOPS = """
import pathlib, signal, sys, time
def stop(*_):
    with open(sys.argv[2], "a") as order:
        order.write(sys.argv[3] + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[1]).touch()
time.sleep(600)
"""


class Watched:
    """A supervisor with what it told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notices: list[str] = []
        self.pids: Mapping[str, int] = {}
        self.restarted: list[str] = []
        self.supervisor = Supervisor(
            self.notices.append,
            restart_delay_seconds=0.01,
            on_change=lambda pids: setattr(self, "pids", pids),
            on_restarted=self.restarted.append,
        )

    def spec(self, name: str, code: str, *arguments: str, rank: int = 0) -> ChildSpec:
        ready = self.folder / f"{name}.ready"
        return ChildSpec(
            name=name,
            command=[sys.executable, "-c", code, str(ready), *arguments],
            environment={},
            log_file=self.folder / f"{name}.log",
            is_ready=ready.exists,
            stop_rank=rank,
            stop_seconds=120,
            ready_file=ready,
        )


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    watched = Watched(tmp_path)
    yield watched
    watched.supervisor.stop()


def test_child_that_is_killed_is_started_again_and_said_so(watched: Watched) -> None:
    watched.supervisor.add([watched.spec("worker", _RUNS)])
    eventually(lambda: watched.supervisor.is_ready("worker"), "ready")
    first = watched.pids["worker"]

    os.kill(first, signal.SIGKILL)

    eventually(lambda: watched.restarted == ["worker"], "told of the restart")
    assert watched.pids["worker"] != first
    assert watched.notices[0].startswith("worker ended (killed by SIGKILL)")
    assert watched.notices[-1] == "worker is back"


def test_child_that_keeps_failing_is_shown_with_the_end_of_its_log(watched: Watched) -> None:
    watched.supervisor.add([watched.spec("worker", "raise SystemExit('KINSTREAM_X is wrong')")])
    eventually(lambda: len(watched.notices) >= 4, "three failures")

    with pytest.raises(PermanentError, match=r"worker does not start.*\n.*KINSTREAM_X is wrong"):
        watched.supervisor.is_ready("worker")
    assert any("worker keeps ending" in notice for notice in watched.notices)


def test_lower_ranks_stop_before_higher_ones(watched: Watched) -> None:
    order = watched.folder / "order"
    names = ("last", "first", "middle")
    ranks = {"first": 0, "middle": 1, "last": 2}
    watched.supervisor.add(
        [watched.spec(name, _TELLS_WHEN_IT_STOPS, str(order), name, rank=ranks[name]) for name in names]
    )
    eventually(lambda: all(map(watched.supervisor.is_ready, names)), "all ready")

    watched.supervisor.stop()

    assert order.read_text().split() == ["first", "middle", "last"]
    assert not any(map(psutil.pid_exists, watched.pids.values()))


def test_what_a_killed_child_had_started_ends_with_it(watched: Watched) -> None:
    grandchild = watched.folder / "grandchild"
    code = (
        "import subprocess, sys, time, pathlib\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "pathlib.Path(sys.argv[2]).write_text(str(p.pid))\n"
        "pathlib.Path(sys.argv[1]).touch()\n"
        "time.sleep(600)\n"
    )
    watched.supervisor.add([watched.spec("worker", code, str(grandchild))])
    eventually(lambda: watched.supervisor.is_ready("worker"), "ready")
    orphan = int(grandchild.read_text())

    os.kill(watched.pids["worker"], signal.SIGKILL)

    eventually(lambda: not _runs(orphan), "the grandchild has ended")


def _runs(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
