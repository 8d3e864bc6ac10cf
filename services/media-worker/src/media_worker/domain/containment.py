"""What a decoding child may use, and what its end says about the file that it worked on."""

import math
import signal
from dataclasses import dataclass

from kinstream.errors import PermanentError, RetryableError

_MIB = 1024**2
_GIB = 1024**3
_MINUTE_SECONDS = 60
_MOST_TEXT = 300
_NEARLY = 0.8
"""A child that dies with so much of its memory in use died of that."""

STORED_TYPES = frozenset(
    {
        *("image/jpeg", "image/png", "image/webp", "image/avif", "image/gif"),
        *("video/mp4", "audio/mp4", "text/vtt", "application/vnd.apple.mpegurl"),
    }
)
"""What a child's files may be stored as: nothing that a browser would run."""


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """Bounds on one decoding child.

    With the memory that it shares with its server, about 60 MB, it stays below 1 GB.
    """

    memory_bytes: int = 900 * _MIB
    """Memory of its own, whether used yet or not."""
    wall_seconds: float = 1_440.0
    cpu_seconds: int = 7_200
    """Of all its threads together."""
    file_bytes: int = 4 * _GIB
    """Largest single file that it writes."""
    folder_bytes: int = 6 * _GIB
    """All files of its folder together, what was there before included."""
    open_files: int = 128
    free_bytes: int = 256 * _MIB
    """What a child must leave free on the disk. Files that it has opened and removed count for no folder."""
    must_isolate: bool = False
    """Whether to refuse work where the kernel cannot keep a child from the network."""


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """How a child ended, as the kernel tells it; nothing here is the child's own word."""

    exit_code: int
    """Negative: the signal that killed it."""
    peak_bytes: int
    """Most memory in use at any time, shared memory included."""
    cpu_seconds: float


def error_of_end(end: ChildEnd, limits: SandboxLimits) -> PermanentError | RetryableError:
    """The error for a child that ended without an answer, in words for the person who sent the file."""
    killed_by = -end.exit_code
    if killed_by == signal.SIGXCPU or end.cpu_seconds > limits.cpu_seconds:
        return PermanentError(f"the file takes more than {_time(limits.cpu_seconds)} of computing")
    if killed_by in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        return RetryableError("the file's decoder was stopped from outside")
    if killed_by == signal.SIGXFSZ:
        return PermanentError(f"what is made of the file outgrows the allowed {_size(limits.file_bytes)}")
    if end.peak_bytes > _NEARLY * limits.memory_bytes:
        return out_of_memory(limits)
    return PermanentError("the file is broken in a way that crashes its decoder")


def out_of_memory(limits: SandboxLimits) -> PermanentError:
    """The error for a file that needs more memory than a child has."""
    return PermanentError(
        f"the file needs more memory to decode than the allowed {_size(limits.memory_bytes)}: "
        "send it in a smaller size"
    )


def out_of_time(limits: SandboxLimits) -> PermanentError:
    """The error for a child past its wall clock limit."""
    return PermanentError(f"the file takes longer than {_time(limits.wall_seconds)} to work on")


def out_of_room(limits: SandboxLimits) -> PermanentError:
    """The error for a child that fills its folder."""
    return PermanentError(f"what is made of the file outgrows the allowed {_size(limits.folder_bytes)}")


def out_of_disk() -> RetryableError:
    """The error for a child that the disk has no room for, whoever fills it."""
    return RetryableError("the worker's disk is nearly full")


def not_sensible() -> PermanentError:
    """The error for an answer that no decoder of ours gives."""
    return PermanentError("the file's decoder does not answer sensibly")


def told(text: str) -> str:
    """A child's text as it may be stored and shown: one printable line of bounded length.

    Whoever took a child over chooses its words.
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text[: 2 * _MOST_TEXT]).split())
    return line[:_MOST_TEXT] or "the file cannot be decoded"


def _size(count: int) -> str:
    return f"{count / _GIB:.3g} GB" if count >= _GIB else f"{math.ceil(count / _MIB)} MB"


def _time(seconds: float) -> str:
    if seconds < 2 * _MINUTE_SECONDS:
        return f"{math.ceil(seconds)} second{'s' if seconds > 1 else ''}"
    return f"{seconds / _MINUTE_SECONDS:.0f} minutes"
