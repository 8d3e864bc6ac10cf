"""What sandboxed children do in tests: functions of a module, for a child loads them by their names."""

import ctypes
import errno
import fcntl
import os
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from kinstream.errors import PermanentError, RetryableError


@dataclass(frozen=True, slots=True)
class Findings:
    path: Path
    aspect: Fraction
    sizes: list[tuple[int, int]]
    seconds: float | None = None


def find(path: Path) -> Findings:
    path.write_bytes(b"x")
    return Findings(path, Fraction(12, 11), [(1, 2)])


def add(one: int, other: int) -> int:
    return one + other


def count(most: int, report: Callable[[float], None]) -> int:
    for number in range(most):
        report(number / most)
        time.sleep(0.02)
    return most


def fail_for_good() -> None:
    raise PermanentError("the file\nis \x1b[31mno good")


def fail_for_now() -> None:
    raise RetryableError("the disk is busy")


def fail_oddly() -> None:
    raise KeyError("unforeseen")


def raise_signal(number: int) -> None:
    signal.raise_signal(number)


def abort() -> None:
    ctypes.CDLL(None).abort()


def take_memory(count: int) -> int:
    return len(bytearray(count))


def take_memory_in_steps() -> None:
    held = []
    while True:
        try:
            held.append(b"x" * (4 << 20))
        except MemoryError:  # as a library that does not check
            signal.raise_signal(signal.SIGSEGV)


def take_memory_in_threads(threads: int, count: int) -> int:
    """As encoders do: each thread with a stack and a block of its own."""
    everybody = threading.Barrier(threads + 1)
    taken: list[int] = []

    def take() -> None:
        block = b"x" * count
        everybody.wait(120)
        taken.append(len(block))

    running = [threading.Thread(target=take) for _ in range(threads)]
    for one in running:
        one.start()
    everybody.wait(120)
    for one in running:
        one.join()
    return sum(taken)


def spin() -> None:
    while True:
        pass


def sleep(folder: Path) -> None:
    (folder / "pid").write_text(str(os.getpid()))
    time.sleep(600)


def sleep_telling(report: Callable[[float], None]) -> None:
    report(0.5)
    time.sleep(600)


def write_file(path: Path, count: int) -> int:
    return path.write_bytes(b"x" * count)


def write_many_files(folder: Path, count: int) -> None:
    for number in range(count):
        (folder / str(number)).touch()
    time.sleep(600)


def is_hidden() -> bool:
    """Whether processes of the same user are kept from looking into this one."""
    return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) == 0


def share_of_blame() -> int:
    """Out of 1,000, what the kernel adds when it looks for a process to end for want of memory."""
    return int(Path("/proc/self/oom_score_adj").read_text())


def environment() -> dict[str, str]:
    return dict(os.environ)


def open_descriptors() -> list[str]:
    kinds = []
    for number in range(64):
        try:
            mode = os.fstat(number).st_mode
        except OSError:
            continue
        kinds.append("device" if stat.S_ISCHR(mode) else "pipe" if stat.S_ISFIFO(mode) else oct(mode))
    return kinds


def forbidden(folder: Path, worker: int) -> dict[str, str]:
    """What came of each thing that a decoder has no business doing."""
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace() -> None:
        if libc.ptrace(16, worker, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")

    def shared_memory() -> None:
        libc.mmap.restype = ctypes.c_void_p
        if libc.mmap(None, ctypes.c_size_t(4096), 3, 0x21, -1, ctypes.c_long(0)) == ctypes.c_void_p(-1).value:
            raise OSError(ctypes.get_errno(), "mmap")

    tries: dict[str, Callable[[], object]] = {
        "network": lambda: socket.socket(socket.AF_INET),
        "local sockets": lambda: socket.socket(socket.AF_UNIX),
        "programs": lambda: os.execv(sys.executable, [sys.executable, "-c", ""]),  # noqa: S606 -- refused, if all is well
        "processes": os.fork,
        "subprocess": lambda: subprocess.run([sys.executable], check=False),
        "signals": lambda: os.kill(worker, 0),
        "signals by files": lambda: fcntl.fcntl(0, fcntl.F_SETOWN, worker),
        "which signal": lambda: fcntl.fcntl(0, 10, 9),
        "signals of files": lambda: fcntl.ioctl(0, 0x5452, b"\1\0\0\0"),
        "rights of files": lambda: Path("/etc/hostname").chmod(0o777),
        "ptrace": ptrace,
        "shared memory": shared_memory,
        "folders": (folder / "folder").mkdir,
        "links": lambda: (folder / "link").symlink_to("/etc/passwd"),
    }
    return {name: _outcome(try_it) for name, try_it in tries.items()}


def _outcome(try_it: Callable[[], object]) -> str:
    try:
        try_it()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "allowed"


def read_files(paths: list[Path]) -> list[str]:
    def read(path: Path) -> str:
        return _outcome(lambda: path.open("rb").close())

    return [read(path) for path in paths]


def write_files(paths: list[Path]) -> list[str]:
    return [_outcome(lambda path=path: path.write_bytes(b"x")) for path in paths]  # type: ignore[misc]


def run_threads() -> int:
    done: list[int] = []
    threads = [threading.Thread(target=done.append, args=(number,)) for number in range(4)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return len(done)


def _pipe() -> int:
    return next(number for number in range(3, 64) if stat.S_ISFIFO(_mode(number)))


def _mode(number: int) -> int:
    try:
        return os.fstat(number).st_mode
    except OSError:
        return 0


def answer_by_hand(kind: bytes, body: bytes) -> int:
    """Answers as a decoder that somebody has taken over."""
    os.write(_pipe(), struct.pack("<cI", kind, len(body)) + body)
    os._exit(0)


def answer_without_end() -> int:
    block = struct.pack("<cI", b"r", 1 << 31) + b"x" * 65_536
    while True:
        os.write(_pipe(), block)


def answer_path(path: Path) -> Path:
    return path


def leave_without_a_word() -> int:
    os._exit(0)
