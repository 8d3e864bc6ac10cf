"""The worker's side: starts a child, follows it to its end, and takes nothing that it says on trust."""

import logging
import math
import os
import pickle
import selectors
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import msgspec

from kinstream.errors import KinstreamError, PermanentError, RetryableError
from media_worker.domain import containment
from media_worker.domain.containment import ChildEnd, SandboxLimits
from media_worker.sandbox import seccomp, server

log = logging.getLogger(__name__)

T = TypeVar("T")

PRELOADED = (
    "media_worker.making",
    "media_worker.renditions",
    "media_worker.codecs",
    "PIL.JpegImagePlugin",
    "PIL.PngImagePlugin",
    "PIL.WebPImagePlugin",
    "PIL.AvifImagePlugin",
    "PIL.GifImagePlugin",
    "PIL.TiffImagePlugin",
    "PIL.BmpImagePlugin",
    "PIL.PpmImagePlugin",
    "av.subtitles.stream",
)
"""What a child would otherwise import anew each time: modules, and packages with all of theirs."""

_LOOK_SECONDS = 0.25
"""How often a child's folder is measured."""
_PROGRESS_SECONDS = 0.2
_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_MOST_ANSWER_BYTES = 4 * 1024**2
_READS_AT_A_TIME = 16
_FILE_LEAST_BYTES = 256 * 1024
"""What a small file counts for, so that their number is bounded too: 24,576 in 6 GB."""
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_SERVE = f"from {server.__name__} import main; main()"
_SANE = struct.Struct("<d")


class Sandbox:
    """Runs work in children, one at a time.

    To be made in the process that uses it, after any fork. The server starts with the first call and ends
    with this process, however that ends, and takes its child along.
    """

    def __init__(self, limits: SandboxLimits, preload: tuple[str, ...] = PRELOADED) -> None:
        """`preload`: modules and packages that the server imports, so that no child has to."""
        self._limits = limits
        self._preload = preload
        self._lock = threading.Lock()
        self._server: _Server | None = None
        self.last_end: ChildEnd | None = None
        """How the last child ended, and what it used."""

    def run(
        self,
        work: Callable[..., T],
        *args: Any,
        progress: Callable[[float], None] | None = None,
        folder: Path | None = None,
        limits: SandboxLimits | None = None,
    ) -> T:
        """What `work(*args)` returns: a module's function, whose declared result is plain data.

        With `progress`, the child calls `work(*args, report)`, and `report(fraction)` reaches `progress`
        here, now and then. What `progress` raises ends the child and is raised from here.

        `folder` is the only place where the child may write, files but no folders; what is in it stays for
        the caller to remove, and paths in the result must be plain files in it.

        PermanentError and RetryableError of the work arrive as they are. Every other end of the child is a
        PermanentError in plain words, but for a kill from outside: that one is a RetryableError.
        """
        allowed = limits or self._limits
        with self._lock:
            call = _Call(self._started(allowed), allowed, folder, progress)
            try:
                answer = call.wait(work, args)
            except BaseException:
                if call.end is None:
                    # Interrupted in mid-talk: only a new server is sure to be understood again.
                    self._stop()
                raise
            finally:
                self.last_end = call.end
            return _checked(answer, work, folder)

    def close(self) -> None:
        """End the server."""
        with self._lock:
            self._stop()

    def _stop(self) -> None:
        if self._server:
            self._server.stop()
            self._server = None

    def _started(self, limits: SandboxLimits) -> "_Server":
        if self._server and not self._server.is_alive():
            self._stop()
        if self._server is None:
            self._server = _Server(self._preload)
        if limits.must_isolate and seccomp.NAME in self._server.lacking:
            raise RetryableError(f"files are not decoded here: the kernel lacks {seccomp.NAME}")
        return self._server


class _Server:
    """The process that children are forked from."""

    def __init__(self, preload: tuple[str, ...]) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _SERVE, str(theirs.fileno()), *preload],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=_clean_environment(),
                # The worker's terminal and its group's signals are no concern of a child.
                start_new_session=True,
            )
        self._control.settimeout(_START_SECONDS)
        try:
            hello = self._read(server.HELLO.size)
            (length,) = server.HELLO.unpack(hello)
            self.lacking = self._read(length).decode()
        except OSError as error:
            self.stop()
            raise RetryableError("the decoders' server does not start") from error
        if self.lacking:
            log.warning("decoders are less isolated than they could be", extra={"lacking": self.lacking})

    def fileno(self) -> int:
        return self._control.fileno()

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def start(self, request: bytes, answers: int) -> None:
        """Have a child forked that works on `request` and writes to the pipe `answers`."""
        self._control.settimeout(_START_SECONDS)
        head = server.REQUEST.pack(b"r", len(request))
        socket.send_fds(self._control, [head], [answers])
        self._control.sendall(request)

    def kill_child(self) -> None:
        self._control.sendall(b"k")

    def end_of_child(self) -> ChildEnd:
        """How the child ended; OSError where its server is gone too."""
        report = self._read(server.END.size)
        return ChildEnd(*server.END.unpack(report))

    def stop(self) -> None:
        """End it, and the child with it; both are gone afterwards."""
        self._control.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def _read(self, count: int) -> bytes:
        read = b""
        while len(read) < count:
            more = self._control.recv(count - len(read))
            if not more:
                raise ConnectionResetError("the decoders' server is gone")
            read += more
        return read


class _Call:
    """One child, from its start to its end."""

    def __init__(
        self,
        server: _Server,
        limits: SandboxLimits,
        folder: Path | None,
        progress: Callable[[float], None] | None,
    ) -> None:
        self._server = server
        self._limits = limits
        self._folder = folder
        self._progress = progress
        self._told_at_seconds = -math.inf
        self._received = bytearray()
        self._answer: tuple[bytes, bytes] | None = None
        self.end: ChildEnd | None = None

    def wait(self, work: Callable[..., Any], args: tuple[Any, ...]) -> bytes:
        """The encoded result, once the child has ended; else the error that says why there is none."""
        request = pickle.dumps((work, args, self._progress is not None, self._folder, self._limits))
        answers, theirs = os.pipe()
        os.set_blocking(answers, False)
        try:
            try:
                self._server.start(request, theirs)
            finally:
                os.close(theirs)
            stopped = self._watch(answers)
        except OSError as error:
            raise RetryableError("the decoders' server was stopped from outside") from error
        finally:
            os.close(answers)
        assert self.end is not None
        if stopped:
            raise stopped
        if self._answer is None or (self.end.exit_code and self._answer[0] == server.RESULT):
            raise containment.error_of_end(self.end, self._limits)
        return self._result(*self._answer)

    def _watch(self, answers: int) -> KinstreamError | None:
        """Follow the child to its end; the reason where it had to be stopped."""
        give_up_at = time.monotonic() + self._limits.wall_seconds
        stopped: KinstreamError | None = None
        with selectors.DefaultSelector() as selector:
            selector.register(answers, selectors.EVENT_READ)
            selector.register(self._server, selectors.EVENT_READ)
            while self.end is None:
                ready = {key.fd for key, _ in selector.select(_LOOK_SECONDS)}
                if answers in ready and not self._take(answers):
                    selector.unregister(answers)
                if self._server.fileno() in ready:
                    self.end = self._server.end_of_child()
                elif stopped is None and (stopped := self._overstepped(give_up_at)):
                    self._server.kill_child()
        self._take(answers)
        return stopped

    def _overstepped(self, give_up_at: float) -> KinstreamError | None:
        if time.monotonic() > give_up_at:
            return containment.out_of_time(self._limits)
        if len(self._received) > _MOST_ANSWER_BYTES:
            return containment.not_sensible()
        if self._folder and _size(self._folder) > self._limits.folder_bytes:
            return containment.out_of_room(self._limits)
        if self._folder and _free_bytes(self._folder) < self._limits.free_bytes:
            return containment.out_of_disk()
        return None

    def _take(self, answers: int) -> bool:
        """Read what the child has written; False at its end."""
        try:
            # So much at a time: whoever never stops talking must not keep its time from being looked at.
            for _ in range(_READS_AT_A_TIME):
                if len(self._received) > _MOST_ANSWER_BYTES:
                    break
                more = os.read(answers, 65_536)
                if not more:
                    return False
                self._received += more
                self._take_frames()
        except BlockingIOError:
            pass
        return True

    def _take_frames(self) -> None:
        head = server.FRAME
        while self._answer is None and len(self._received) >= head.size:
            kind, length = head.unpack_from(self._received)
            if len(self._received) < head.size + length:
                return
            body = bytes(self._received[head.size : head.size + length])
            del self._received[: head.size + length]
            if kind == server.PROGRESS:
                self._tell(body)
            else:
                self._answer = kind, body

    def _tell(self, body: bytes) -> None:
        now = time.monotonic()
        if not self._progress or len(body) != _SANE.size or now - self._told_at_seconds < _PROGRESS_SECONDS:
            return
        (fraction,) = _SANE.unpack(body)
        if math.isfinite(fraction):
            self._told_at_seconds = now
            self._progress(min(1.0, max(0.0, fraction)))

    def _result(self, kind: bytes, body: bytes) -> bytes:
        text = containment.told(body.decode(errors="replace"))
        match kind:
            case server.RESULT:
                return body
            case server.PERMANENT:
                raise PermanentError(text)
            case server.RETRYABLE:
                raise RetryableError(text)
            case server.MEMORY:
                raise containment.out_of_memory(self._limits)
            case _:
                log.error(
                    "decoder failed in an unforeseen way", extra={"detail": body.decode(errors="replace")}
                )
                raise PermanentError("the file is broken in a way that its decoder does not foresee")


def _checked(answer: bytes, work: Callable[..., T], folder: Path | None) -> T:
    """The answer as the type that the work declares; PermanentError for anything else."""

    def plain(expected: type, value: Any) -> Any:
        if expected is Path:
            return plain_file(Path(value), folder)
        if expected is Fraction:
            return Fraction(value)
        raise NotImplementedError(expected)

    try:
        wanted = get_type_hints(work)["return"]
        return msgspec.msgpack.decode(answer, type=wanted, dec_hook=plain)  # type: ignore[no-any-return]
    except (msgspec.DecodeError, ValueError, ArithmeticError, RecursionError, OSError) as error:
        raise containment.not_sensible() from error


def plain_file(path: Path, folder: Path | None) -> Path:
    """The path, if a plain file of the folder lies there; ValueError or OSError where it is anything else."""
    # A link would have the caller store whatever file it leads to.
    if folder is None or not stat.S_ISREG(path.lstat().st_mode) or path.stat().st_nlink != 1:
        raise ValueError("no plain file")
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError("a file outside its folder")
    return path


def _size(folder: Path) -> int:
    """Bytes in the folder's files, none of them counted as nothing."""
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                total += max(_FILE_LEAST_BYTES, entry.stat(follow_symlinks=False).st_size)
    return total


def _free_bytes(folder: Path) -> int:
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def _clean_environment() -> dict[str, str]:
    """What a decoder needs of the environment: no key, token or address is in it."""
    kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return kept | {
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
        "PYTHONDONTWRITEBYTECODE": "1",
        # Memory pools a thread would count against the child's memory without being used.
        "MALLOC_ARENA_MAX": "2",
        # libvips has a thread a core, with a stack each: its memory must not grow with the machine.
        "VIPS_CONCURRENCY": "2",
        # Pages of 2 MB, and blocks that are used again: a fresh process meets each page for the first time.
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432"
        ":glibc.malloc.trim_threshold=268435456",
    }
