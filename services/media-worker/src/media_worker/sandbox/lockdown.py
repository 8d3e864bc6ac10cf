"""What a decoding child may no longer do once it has begun: bounds and bans that it cannot lift again."""

import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

from media_worker.domain.containment import SandboxLimits
from media_worker.sandbox import landlock, seccomp
from media_worker.sandbox.kernel import drop_capabilities, hide_process, set_process_option

_PR_SET_PDEATHSIG = 1
_PR_SET_NO_NEW_PRIVS = 38
_HIGHEST_DESCRIPTOR = 65_536
_FIRST_TO_GO = "1000"
_CPU_EXTRA_SECONDS = 5


def prepare_server() -> None:
    """What all children are to have from the start: the server is hidden from them, and they from others."""
    with suppress(OSError):
        # When the machine runs out of memory it is a child or its server that goes, not the worker.
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    hide_process()


def lacking() -> list[str]:
    """What cannot be banned here; nothing where all is well."""
    landlock.programs_own()  # looked up once, for all children
    # Tried in a process of its own: a ban is for good.
    child = os.fork()
    if child == 0:
        missing = 3
        with suppress(OSError):
            missing = (0 if _ban_calls() else 1) | (0 if landlock.is_there() else 2)
        os._exit(missing)
    _, status = os.waitpid(child, 0)
    missing = os.waitstatus_to_exitcode(status)
    return [name for bit, name in ((1, seccomp.NAME), (2, landlock.NAME)) if missing & bit]


def leave_server(server: int, kept: int) -> None:
    """Close what a child has from its server, but for the descriptor `kept`; end when the server does."""
    for number in (signal.SIGCHLD, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    if sys.platform == "linux":
        set_process_option(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:
        os._exit(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nothing, standard)
    os.closerange(3, kept)
    os.closerange(kept + 1, _HIGHEST_DESCRIPTOR)


def confine(limits: SandboxLimits, folder: Path | None) -> None:
    """Bound this process's memory, time and files; take the network, programs and other files from it."""
    # Unlike RLIMIT_AS it leaves out address space that is only reserved, and code.
    _bound(resource.RLIMIT_DATA, limits.memory_bytes)
    # At the hard limit it would be SIGKILL, which says nothing.
    _bound(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + _CPU_EXTRA_SECONDS)
    _bound(resource.RLIMIT_FSIZE, limits.file_bytes)
    _bound(resource.RLIMIT_NOFILE, limits.open_files)
    _bound(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        drop_capabilities()
        set_process_option(_PR_SET_NO_NEW_PRIVS, 1)
        landlock.confine_files(folder)
        _ban_calls()


def _ban_calls() -> bool:
    if sys.platform != "linux":
        return False
    set_process_option(_PR_SET_NO_NEW_PRIVS, 1)
    return seccomp.ban_calls()


def _bound(which: int, most: int, hard: int | None = None) -> None:
    _, present = resource.getrlimit(which)
    ends = (most, most if hard is None else hard)
    if present != resource.RLIM_INFINITY:
        ends = (min(ends[0], present), min(ends[1], present))
    resource.setrlimit(which, ends)
