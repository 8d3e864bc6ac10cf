"""The sandbox: what comes out of it, what cannot, and that nothing of it stays."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kinstream.errors import PermanentError, RetryableError
from kinstream.processes import is_alive
from media_worker.sandbox import Sandbox, SandboxLimits, landlock, seccomp
from tests.support import sandboxed
from tests.support.processes import is_seen

MIB = 1024**2
LIMITS = SandboxLimits(memory_bytes=200 * MIB, cpu_seconds=60, wall_seconds=60)
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="what is banned is banned by Linux")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(LIMITS, preload=())
    yield made
    made.close()


def refused(run: Callable[[], Any]) -> str:
    """The reason with which a file is refused for good."""
    with pytest.raises(PermanentError) as caught:
        run()
    return str(caught.value)


def test_result_arrives_as_the_type_that_the_work_declares(sandbox: Sandbox, tmp_path: Path) -> None:
    found = sandbox.run(sandboxed.find, tmp_path / "made", folder=tmp_path)
    assert found == sandboxed.Findings(tmp_path / "made", Fraction(12, 11), [(1, 2)])
    assert (tmp_path / "made").read_bytes() == b"x"


def test_progress_arrives_in_order_while_the_work_goes_on(sandbox: Sandbox) -> None:
    told: list[float] = []
    assert sandbox.run(sandboxed.count, 80, progress=told.append) == 80
    assert told[0] == 0
    assert told == sorted(told)
    assert len(told) > 1


def test_error_of_progress_ends_the_child_and_is_raised(sandbox: Sandbox) -> None:
    def lose(_: float) -> None:
        raise LookupError("the claim is lost")

    with pytest.raises(LookupError, match="claim is lost"):
        sandbox.run(sandboxed.sleep_telling, progress=lose)
    assert sandbox.run(sandboxed.add, 1, 2) == 3


def test_errors_keep_their_disposition_and_their_text_in_one_printable_line(sandbox: Sandbox) -> None:
    assert refused(lambda: sandbox.run(sandboxed.fail_for_good)) == "the file is [31mno good"
    with pytest.raises(RetryableError, match="the disk is busy"):
        sandbox.run(sandboxed.fail_for_now)


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (sandboxed.fail_oddly, "does not foresee"),
        (sandboxed.abort, "crashes its decoder"),
        (sandboxed.leave_without_a_word, "crashes its decoder"),
    ],
)
def test_broken_decoder_is_told_in_plain_words(
    sandbox: Sandbox, work: Callable[[], Any], reason: str
) -> None:
    assert reason in refused(lambda: sandbox.run(work))
    assert sandbox.run(sandboxed.add, 1, 2) == 3


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGBUS, signal.SIGFPE, signal.SIGILL])
def test_crash_is_told_in_plain_words(sandbox: Sandbox, number: int) -> None:
    assert "crashes its decoder" in refused(lambda: sandbox.run(sandboxed.raise_signal, int(number)))


@on_linux
@pytest.mark.parametrize(
    ("work", "args"), [(sandboxed.take_memory, (1024 * MIB,)), (sandboxed.take_memory_in_steps, ())]
)
def test_memory_is_bounded(sandbox: Sandbox, work: Callable[..., Any], args: tuple[int, ...]) -> None:
    assert "needs more memory to decode than the allowed 200 MB" in refused(lambda: sandbox.run(work, *args))
    assert sandbox.last_end
    assert sandbox.last_end.peak_bytes < 300 * MIB


@on_linux
def test_memory_within_the_bound_is_there_for_every_thread(sandbox: Sandbox) -> None:
    assert sandbox.run(sandboxed.take_memory_in_threads, 4, 20 * MIB) == 80 * MIB
    assert sandbox.last_end
    assert sandbox.last_end.peak_bytes > 80 * MIB


def test_computing_time_is_bounded(sandbox: Sandbox) -> None:
    limits = SandboxLimits(cpu_seconds=1)
    assert "1 second of computing" in refused(lambda: sandbox.run(sandboxed.spin, limits=limits))


def test_time_is_bounded(sandbox: Sandbox, tmp_path: Path) -> None:
    limits = SandboxLimits(wall_seconds=2)
    reason = refused(lambda: sandbox.run(sandboxed.sleep, tmp_path, folder=tmp_path, limits=limits))
    assert "takes longer than 2 seconds" in reason
    assert not is_alive(int((tmp_path / "pid").read_text()))


def test_single_file_is_bounded(sandbox: Sandbox, tmp_path: Path) -> None:
    limits = SandboxLimits(file_bytes=MIB)
    work = sandboxed.write_file, tmp_path / "large", 2 * MIB
    assert "outgrows the allowed 1 MB" in refused(lambda: sandbox.run(*work, folder=tmp_path, limits=limits))


def test_folder_is_bounded_by_the_number_of_files_too(sandbox: Sandbox, tmp_path: Path) -> None:
    limits = SandboxLimits(folder_bytes=50 * MIB)
    work = sandboxed.write_many_files, tmp_path, 300
    assert "outgrows the allowed 50 MB" in refused(lambda: sandbox.run(*work, folder=tmp_path, limits=limits))


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_child_killed_from_outside_is_tried_again(sandbox: Sandbox, number: int, tmp_path: Path) -> None:
    with pytest.raises(RetryableError, match="from outside"):
        sandbox.run(sandboxed.sleep_telling, progress=lambda _: os.kill(child_of(sandbox), number))


@on_linux
def test_server_killed_from_outside_takes_its_child_along_and_comes_back(sandbox: Sandbox) -> None:
    children: list[int] = []

    def kill(_: float) -> None:
        children.append(child_of(sandbox))
        os.kill(server_of(sandbox), signal.SIGKILL)

    with pytest.raises(RetryableError, match="from outside"):
        sandbox.run(sandboxed.sleep_telling, progress=kill)
    assert_gone(children)
    assert sandbox.run(sandboxed.add, 1, 2) == 3


@on_linux
def test_child_has_no_network_and_no_power_over_others(sandbox: Sandbox, tmp_path: Path) -> None:
    outcomes = sandbox.run(sandboxed.forbidden, tmp_path, os.getpid(), folder=tmp_path)
    assert len(outcomes) == 14
    assert set(outcomes.values()) == {"EPERM"}, outcomes


def test_work_is_refused_where_isolation_is_required_and_lacking(sandbox: Sandbox) -> None:
    limits = SandboxLimits(must_isolate=True)
    server = sandbox._started(LIMITS)
    there = server.lacking
    try:
        server.lacking = seccomp.NAME
        with pytest.raises(RetryableError, match="the kernel lacks seccomp filters"):
            sandbox.run(sandboxed.add, 1, 2, limits=limits)
        assert sandbox.run(sandboxed.add, 1, 2) == 3
    finally:
        server.lacking = there


@on_linux
def test_child_may_still_have_threads(sandbox: Sandbox) -> None:
    assert sandbox.run(sandboxed.run_threads) == 4


@pytest.mark.skipif(sys.platform != "linux" or not landlock.is_there(), reason="the kernel has no Landlock")
def test_child_sees_its_folder_alone(sandbox: Sandbox, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "others").write_bytes(b"x")
    mine, secrets = tmp_path / "mine" / "file", Path(f"/proc/{os.getpid()}/environ")
    assert sandbox.run(
        sandboxed.write_files, [mine, tmp_path / "others", tmp_path / "new"], folder=tmp_path / "mine"
    ) == ["allowed", "EACCES", "EACCES"]
    assert sandbox.run(
        sandboxed.read_files, [mine, tmp_path / "others", secrets], folder=tmp_path / "mine"
    ) == ["allowed", "EACCES", "EACCES"]
    # Without a folder it reads and writes nothing of other processes, and writes nowhere.
    assert sandbox.run(sandboxed.read_files, [mine, secrets]) == ["allowed", "EACCES"]
    assert sandbox.run(sandboxed.write_files, [mine]) == ["EACCES"]


def test_child_knows_no_secrets_and_holds_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    fresh = Sandbox(LIMITS, preload=())
    try:
        names = set(fresh.run(sandboxed.environment))
        assert not {name for name in names if name.startswith(("AWS", "KINSTREAM", "HOME", "USER"))}
        assert fresh.run(sandboxed.open_descriptors) == ["device"] * 3 + ["pipe"]
    finally:
        fresh.close()


@on_linux
def test_server_and_child_are_hidden_and_the_first_to_go(sandbox: Sandbox) -> None:
    assert sandbox.run(sandboxed.is_hidden)
    assert sandbox.run(sandboxed.share_of_blame) == 1_000


@on_linux
@pytest.mark.parametrize("hides", [True, False])
def test_process_that_hides_keeps_its_environment_to_itself(hides: bool) -> None:
    program = (
        "import sys; from media_worker.sandbox.kernel import *\n"
        f"drop_capabilities()\nif {hides}: hide_process()\n"
        "print(flush=True); sys.stdin.read()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", program], **pipes) as process:
        process.stdout.readline()
        seen = is_seen(process.pid)
        process.communicate()
    assert seen is not hides


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"r", b"\x80\x04K\x03."),  # a pickle
        (b"r", msgspec.msgpack.encode("text instead of a number")),
        (b"r", b"\x91" * 100_000),
        (b"r", b""),
        (b"p", b"1234"),
        (b"\xff", b"\xff\x00"),
    ],
)
def test_answer_of_a_decoder_taken_over_is_refused(sandbox: Sandbox, kind: bytes, body: bytes) -> None:
    refused(lambda: sandbox.run(sandboxed.answer_by_hand, kind, body, progress=None))
    assert sandbox.run(sandboxed.add, 1, 2) == 3


def test_answer_without_end_is_cut_off(sandbox: Sandbox) -> None:
    assert "sensibly" in refused(lambda: sandbox.run(sandboxed.answer_without_end))


def test_path_in_an_answer_leads_nowhere_else(sandbox: Sandbox, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "link").symlink_to("/etc/passwd")
    (folder / "fine").touch()
    assert sandbox.run(sandboxed.answer_path, folder / "fine", folder=folder) == folder / "fine"
    for path in (Path("/etc/passwd"), folder / "link", folder / ".." / "folder", folder / "missing"):
        assert "sensibly" in refused(
            lambda path=path: sandbox.run(sandboxed.answer_path, path, folder=folder)
        )


@on_linux
def test_server_and_child_end_with_a_worker_that_is_killed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from media_worker.sandbox import *\n"
        "from tests.support import sandboxed\n"
        "folder = Path(sys.argv[1])\n"
        "Sandbox(SandboxLimits(), preload=()).run(sandboxed.sleep, folder, folder=folder)\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], env=environment) as worker:
        child = int(eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
        server = parent_of(child)
        assert parent_of(server) == worker.pid
        worker.kill()
    assert_gone([child, server])


def eventually(look: Callable[[], Any]) -> Any:
    while not (found := look()):
        time.sleep(0.01)
    return found


def assert_gone(pids: list[int]) -> None:
    """Also true of a process that nobody has waited for yet."""
    for pid in pids:
        eventually(lambda pid=pid: not is_alive(pid) or state_of(pid) == "Z")


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return ["Z", "0"]


def state_of(pid: int) -> str:
    return _stat(pid)[0]


def parent_of(pid: int) -> int:
    return int(_stat(pid)[1])


def server_of(sandbox: Sandbox) -> int:
    assert sandbox._server
    return sandbox._server._process.pid


def child_of(sandbox: Sandbox) -> int:
    server = server_of(sandbox)
    return int(Path(f"/proc/{server}/task/{server}/children").read_text().split()[0])
