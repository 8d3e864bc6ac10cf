"""Which files a process sees, by the Linux kernel's Landlock: programs' own, to read, and one folder.

It also keeps the process from looking into others, such as the worker with its keys. Kernels before 5.13
lack it; the child then has whatever its user may read and write, but for the worker and its own server, which
hide themselves.
"""

import ctypes
import os
import struct
import sys
from contextlib import suppress
from functools import cache
from pathlib import Path

from media_worker.sandbox.kernel import call

NAME = "Landlock"

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_ASK_VERSION = 1
_PATH_BENEATH = 1

_READ_FILE, _READ_FOLDER = 1 << 2, 1 << 3
_WRITE_FILE, _REMOVE_FILE, _MAKE_FILE = 1 << 1, 1 << 5, 1 << 8
_TRUNCATE = 1 << 14
_WORK = _READ_FILE | _READ_FOLDER | _WRITE_FILE | _REMOVE_FILE | _MAKE_FILE
_RIGHTS_BY_VERSION = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1}

_MACHINE = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime", "/sys/devices/system/cpu")
_DEVICES = ("/dev/null", "/dev/urandom", "/proc/cpuinfo", "/proc/meminfo")


def is_there() -> bool:
    """Whether the kernel has it."""
    return _version() > 0


def confine_files(folder: Path | None) -> None:
    """From now on this process and its threads read programs' files alone, and write into `folder` alone.

    Without a folder it may read every file, but not look into other processes. Without Landlock nothing
    changes. The process must be one that can gain no privileges any more.
    """
    version = _version()
    if not version:
        return
    handled = _RIGHTS_BY_VERSION[min(version, max(_RIGHTS_BY_VERSION))]
    rules = struct.pack("<Q", handled)
    rule_set = call(_CREATE_RULESET, rules, ctypes.c_size_t(len(rules)), ctypes.c_uint(0))
    if folder is None:
        _allow(rule_set, Path("/"), _READ_FILE | _READ_FOLDER)
    else:
        for readable in programs_own():
            _allow(rule_set, readable, _READ_FILE | (_READ_FOLDER if readable.is_dir() else 0))
        _allow(rule_set, folder, (_WORK | _TRUNCATE) & handled)
    _allow(rule_set, Path(os.devnull), _READ_FILE | _WRITE_FILE)
    call(_RESTRICT_SELF, ctypes.c_int(rule_set), ctypes.c_uint(0))
    os.close(rule_set)


@cache
def programs_own() -> tuple[Path, ...]:
    """Files and folders that programs need to read, none of them inside another one."""
    named = {Path(name).resolve() for name in (*_MACHINE, *_DEVICES, sys.base_prefix, *sys.path) if name}
    named.discard(Path("/"))  # a program that lies there itself
    return tuple(path for path in sorted(named) if path.exists() and not named.intersection(path.parents))


@cache
def _version() -> int:
    with suppress(OSError):
        return call(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_ASK_VERSION))
    return 0


def _allow(rule_set: int, path: Path, rights: int) -> None:
    target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("<Qi", rights, target)
        call(_ADD_RULE, ctypes.c_int(rule_set), ctypes.c_int(_PATH_BENEATH), rule, ctypes.c_uint(0))
    finally:
        os.close(target)
