"""A filter on system calls: no network, no other program, no other process, no corner of the kernel that
decoders have no use for. Needs no privilege, and works within the filter of a container.

Refused calls fail with EPERM, so that a library that tries one goes on without.
"""

import ctypes
import errno
import os
import platform
import struct

from media_worker.sandbox.kernel import set_process_option

NAME = "seccomp filters"

_PR_SET_SECCOMP = 22
_MODE_FILTER = 2

# Classic BPF, as far as it is needed: load a word, mask it, compare it, return.
_LOAD, _AND, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x35, 0x06
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW = 0x7FFF0000
_FAIL = 0x00050000
_REFUSE = _FAIL | errno.EPERM
_IS_MISSING = _FAIL | errno.ENOSYS

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
_X32_BIT = 0x40000000
_CLONE_THREAD = 0x00010000
_SHARED_ANONYMOUS = 0x21

# Numbers on x86_64 and aarch64; the latter has no old forms.
_REFUSED: tuple[tuple[str, int, int | None], ...] = (
    ("socket", 41, 198),
    ("socketpair", 53, 199),
    ("connect", 42, 203),
    ("bind", 49, 200),
    ("listen", 50, 201),
    ("accept", 43, 202),
    ("accept4", 288, 242),
    ("sendto", 44, 206),
    ("sendmsg", 46, 211),
    ("sendmmsg", 307, 269),
    ("recvmsg", 47, 212),
    ("execve", 59, 221),
    ("execveat", 322, 281),
    ("fork", 57, None),
    ("vfork", 58, None),
    ("ptrace", 101, 117),
    ("process_vm_readv", 310, 270),
    ("process_vm_writev", 311, 271),
    ("process_madvise", 440, 440),
    ("pidfd_open", 434, 434),
    ("pidfd_getfd", 438, 438),
    ("pidfd_send_signal", 424, 424),
    ("kill", 62, 129),
    ("tkill", 200, 130),
    ("rt_sigqueueinfo", 129, 138),
    ("rt_tgsigqueueinfo", 297, 240),
    ("setsid", 112, 157),
    ("setpgid", 109, 154),
    ("setpriority", 141, 140),
    ("ioprio_set", 251, 30),
    ("migrate_pages", 256, 238),
    ("move_pages", 279, 239),
    ("kcmp", 312, 272),
    ("bpf", 321, 280),
    ("perf_event_open", 298, 241),
    ("userfaultfd", 323, 282),
    ("io_uring_setup", 425, 425),
    ("io_uring_enter", 426, 426),
    ("io_uring_register", 427, 427),
    ("keyctl", 250, 219),
    ("add_key", 248, 217),
    ("request_key", 249, 218),
    ("memfd_create", 319, 279),
    ("memfd_secret", 447, 447),
    ("unshare", 272, 97),
    ("setns", 308, 268),
    ("mount", 165, 40),
    ("umount2", 166, 39),
    ("pivot_root", 155, 41),
    ("chroot", 161, 51),
    ("personality", 135, 92),
    ("shmget", 29, 194),
    ("msgget", 68, 186),
    ("semget", 64, 190),
    ("mq_open", 240, 180),
    ("inotify_init1", 294, 26),
    ("fanotify_init", 300, 262),
    ("name_to_handle_at", 303, 264),
    ("open_by_handle_at", 304, 265),
    ("open_tree", 428, 428),
    ("move_mount", 429, 429),
    ("fsopen", 430, 430),
    ("fspick", 433, 433),
    ("quotactl", 179, 60),
    # What a child makes is stored by its worker: nothing there may lead to another file.
    ("symlink", 88, None),
    ("symlinkat", 266, 36),
    ("link", 86, None),
    ("linkat", 265, 37),
    # Folders within folders are hard to remove again.
    ("mkdir", 83, None),
    ("mkdirat", 258, 34),
    ("mknod", 133, None),
    ("mknodat", 259, 33),
    # Of files that are not its own, which Landlock does not keep from all of this.
    ("truncate", 76, 45),
    ("chmod", 90, None),
    ("fchmodat", 268, 53),
    ("fchmodat2", 452, 452),
    ("chown", 92, None),
    ("lchown", 94, None),
    ("fchownat", 260, 54),
    ("utimensat", 280, 88),
    ("setxattr", 188, 5),
    ("lsetxattr", 189, 6),
    ("removexattr", 197, 14),
    ("lremovexattr", 198, 15),
)
_CLONE3 = (435, 435)
_CLONE = (56, 220)
_TGKILL = (234, 131)
_PRLIMIT64 = (302, 261)
_MMAP = (9, 222)
_FCNTL, _OWNER_OF_SIGNALS = (72, 25), (8, 10, 15)
_IOCTL, _SIGNALS_OF_FILES = (16, 29), (0x8901, 0x8902, 0x5452)
"""By which the kernel is made to send signals for somebody who may send none."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def ban_calls() -> bool:
    """Install the filter, for this thread and all that come after; False where that is impossible.

    The process must be one that can gain no privileges any more.
    """
    known = _ARCHITECTURES.get(platform.machine())
    if known is None:
        return False
    code = _filter(*known, own_pid=os.getpid())
    program = _Program(len(code) // 8, code)
    try:
        set_process_option(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program))
    except OSError:
        return False
    return True


def _filter(column: int, architecture: int, own_pid: int) -> bytes:
    """The program: what it does not name is allowed."""
    steps = [
        _step(_LOAD, _ARCHITECTURE_AT),
        *_unless(_EQUAL, architecture, _REFUSE),
        _step(_LOAD, _NUMBER_AT),
        *_if(_AT_LEAST, _X32_BIT, _REFUSE),
        # Its flags lie in memory, where no filter can look: the C library falls back to clone.
        *_if(_EQUAL, _CLONE3[column], _IS_MISSING),
        # Threads, but no processes.
        *_only_with(_CLONE[column], argument=0, mask=_CLONE_THREAD, value=_CLONE_THREAD),
        # abort() sends its signal so.
        *_only_with(_TGKILL[column], argument=0, mask=0xFFFFFFFF, value=own_pid),
        *_only_with(_PRLIMIT64[column], argument=0, mask=0xFFFFFFFF, value=0),
        # Memory that no limit counts.
        *_never_with(_MMAP[column], argument=3, mask=_SHARED_ANONYMOUS, value=_SHARED_ANONYMOUS),
        *_by_argument(_FCNTL[column], 1, _none_of(_OWNER_OF_SIGNALS)),
        *_by_argument(_IOCTL[column], 1, _none_of(_SIGNALS_OF_FILES)),
    ]
    for _, *numbers in _REFUSED:
        number = numbers[column]
        if number is not None:
            steps += _if(_EQUAL, number, _REFUSE)
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _if(comparison: int, value: int, verdict: int) -> list[bytes]:
    return [_step(comparison, value, 0, 1), _step(_RETURN, verdict)]


def _unless(comparison: int, value: int, verdict: int) -> list[bytes]:
    return [_step(comparison, value, 1, 0), _step(_RETURN, verdict)]


def _only_with(number: int, *, argument: int, mask: int, value: int) -> list[bytes]:
    return _by_argument(number, argument, _same(mask, value, _ALLOW, _REFUSE))


def _never_with(number: int, *, argument: int, mask: int, value: int) -> list[bytes]:
    return _by_argument(number, argument, _same(mask, value, _REFUSE, _ALLOW))


def _by_argument(number: int, argument: int, decide: list[bytes]) -> list[bytes]:
    load = _step(_LOAD, _ARGUMENTS_AT + 8 * argument)
    return [_step(_EQUAL, number, 0, 1 + len(decide)), load, *decide]


def _none_of(values: tuple[int, ...]) -> list[bytes]:
    return [*(step for value in values for step in _if(_EQUAL, value, _REFUSE)), _step(_RETURN, _ALLOW)]


def _same(mask: int, value: int, verdict: int, otherwise: int) -> list[bytes]:
    return [_step(_AND, mask), *_if(_EQUAL, value, verdict), _step(_RETURN, otherwise)]
