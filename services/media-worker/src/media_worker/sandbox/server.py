"""The server that decoding children are forked from, and what a child does.

The server reads requests from one socket and nothing else, decodes nothing, and ends when that socket
closes. It never looks into a request: only the child unpickles it, which comes from the worker.
"""

import errno
import gc
import importlib
import os
import pickle
import pkgutil
import resource
import select
import signal
import socket
import struct
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import msgspec

from kinstream.errors import PermanentError, RetryableError
from media_worker.domain.containment import SandboxLimits
from media_worker.sandbox import lockdown

HELLO = struct.Struct("<I")
REQUEST = struct.Struct("<cI")
END = struct.Struct("<iQd")
FRAME = struct.Struct("<cI")
"""Kind and length of what a child writes."""

PROGRESS, RESULT, PERMANENT, RETRYABLE, MEMORY, UNFORESEEN = b"p", b"r", b"P", b"R", b"M", b"E"

_REPORT_SECONDS = 0.1
_MOST_TRACEBACK = 4_000
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EIO)
_MUCH = 0.3
_KIB = 1024 if sys.platform == "linux" else 1


def main() -> None:
    """Serve until the worker's end of the socket closes."""
    lockdown.prepare_server()
    control = socket.socket(fileno=int(sys.argv[1]))
    control.set_inheritable(False)
    for name in sys.argv[2:]:
        _load(name)
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    lacking = ", ".join(lockdown.lacking()).encode()
    # What is loaded stays shared between all children: a collector that walks it would copy it.
    gc.collect()
    gc.freeze()
    control.sendall(HELLO.pack(len(lacking)) + lacking)
    own_pid = os.getpid()
    while True:
        request, answers = _next_request(control)
        child = os.fork()
        if child == 0:
            signal.set_wakeup_fd(-1)
            _be_child(own_pid, request, answers)
        os.close(answers)
        control.sendall(END.pack(*_watched(child, control, woken)))


def _load(name: str) -> None:
    """Import a module, or a package with all that is in it."""
    loaded = importlib.import_module(name)
    for inner in pkgutil.walk_packages(getattr(loaded, "__path__", ()), f"{name}."):
        importlib.import_module(inner.name)


def _next_request(control: socket.socket) -> tuple[bytes, int]:
    while True:
        head, fds, _, _ = socket.recv_fds(control, 1, 1)
        if not head:
            sys.exit()
        if head == b"r":
            (length,) = struct.unpack("<I", _read(control, REQUEST.size - 1))
            return _read(control, length), fds[0]
        # Else a kill that crossed with its child's end.


def _read(control: socket.socket, count: int) -> bytes:
    read = b""
    while len(read) < count:
        more = control.recv(count - len(read))
        if not more:
            sys.exit()
        read += more
    return read


def _watched(child: int, control: socket.socket, woken: int) -> tuple[int, int, float]:
    """The child's exit code, peak memory in bytes and CPU seconds. It ends with the worker at the latest."""
    while True:
        ready, _, _ = select.select([control.fileno(), woken], [], [])
        if control.fileno() in ready:
            order = control.recv(1)
            os.kill(child, signal.SIGKILL)
            if not order:
                os.waitpid(child, 0)
                sys.exit()
        if woken in ready:
            os.read(woken, 4_096)
        pid, status, used = os.wait4(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status), used.ru_maxrss * _KIB, used.ru_utime + used.ru_stime


def _be_child(server: int, request: bytes, answers: int) -> NoReturn:
    """Work, answer, end. Nothing of the server is left open but the pipe for the answer."""
    limits = SandboxLimits()
    try:
        lockdown.leave_server(server, answers)
        work, args, reports, folder, limits = pickle.loads(request)  # noqa: S301 -- from the worker itself
        if folder:
            os.chdir(folder)
            os.environ["TMPDIR"] = str(folder)
        lockdown.confine(limits, folder)
        if reports:
            args = (*args, _reporter(answers))
        result = work(*args)
        _write(answers, RESULT, msgspec.msgpack.encode(result, enc_hook=_plain))
    except BaseException as error:  # noqa: BLE001 -- whatever it is, the worker has to learn of it
        _write_error(answers, error, limits)
    finally:
        # Without destructors: they would run on what a broken file left behind.
        os._exit(0)


def _reporter(answers: int) -> Callable[[float], None]:
    told_at_seconds = 0.0

    def report(fraction: float) -> None:
        nonlocal told_at_seconds
        now = time.monotonic()
        if now - told_at_seconds >= _REPORT_SECONDS:
            told_at_seconds = now
            _write(answers, PROGRESS, struct.pack("<d", fraction))

    return report


def _write_error(answers: int, error: BaseException, limits: SandboxLimits) -> None:
    causes = list(_causes(error))
    if _is_short_of_memory(error) or (any(map(_is_short_of_memory, causes)) and _has_used_much(limits)):
        _write(answers, MEMORY, b"")
    elif any(_errno(one) in _NO_ROOM for one in causes):
        _write(answers, RETRYABLE, b"there is no room to work on the file, or the disk fails")
    elif isinstance(error, PermanentError):
        _write(answers, PERMANENT, str(error).encode())
    elif isinstance(error, RetryableError):
        _write(answers, RETRYABLE, str(error).encode())
    elif isinstance(error, ImportError):
        _write(answers, RETRYABLE, f"a part of the decoder is missing here: {error}".encode())
    else:
        text = "".join(traceback.format_exception(error))
        _write(answers, UNFORESEEN, text[-_MOST_TRACEBACK:].encode(errors="replace"))


def _is_short_of_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or _errno(error) == errno.ENOMEM


def _has_used_much(limits: SandboxLimits) -> bool:
    """Else a library has refused what is absurd, and the codec's own reason is the better one."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _KIB > _MUCH * limits.memory_bytes


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _errno(error: BaseException) -> int | None:
    return error.errno if isinstance(error, OSError) else None


def _write(answers: int, kind: bytes, body: bytes) -> None:
    left = memoryview(FRAME.pack(kind, len(body)) + body)
    while left:
        left = left[os.write(answers, left) :]


def _plain(value: Any) -> Any:
    if isinstance(value, Path | Fraction):
        return str(value)
    raise TypeError(f"a {type(value).__name__} is no plain data")
