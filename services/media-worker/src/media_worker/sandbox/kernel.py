"""Calls of the Linux kernel that Python has no function for."""

import ctypes
import os
import struct
import sys
from functools import cache
from typing import Any

_CAPABILITIES_VERSION_3 = 0x20080522
_PR_SET_DUMPABLE = 4


@cache
def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def set_process_option(option: int, value: int, pointer: Any = 0) -> None:
    """prctl; OSError where the kernel refuses."""
    arguments = (ctypes.c_ulong(value), pointer or ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0))
    if libc().prctl(option, *arguments) != 0:
        raise last_error()


def hide_process() -> None:
    """Let no process of the same user look into this one: its environment with keys, its memory, its files.

    Processes forked from it are hidden too; programs that it starts are not. On Linux alone.
    """
    if sys.platform == "linux":
        set_process_option(_PR_SET_DUMPABLE, 0)


def drop_capabilities() -> None:
    """Keep nothing that root may do and others may not, but for what root owns."""
    header = struct.pack("<Ii", _CAPABILITIES_VERSION_3, 0)
    if libc().capset(header, bytes(6 * 4)) != 0:
        raise last_error()


def call(number: int, *arguments: Any) -> int:
    """A system call by its number; OSError where it fails."""
    result = int(libc().syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        raise last_error()
    return result


def last_error() -> OSError:
    """What went wrong in the last call."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
