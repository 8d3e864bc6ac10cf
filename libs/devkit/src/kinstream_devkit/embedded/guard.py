"""Become another program that is told to end when the program that started it dies, however it dies.

Run by path, with nothing but the standard library: `guard.py PARENT_PID PROGRAM ARGUMENT...`. SIGTERM,
so that even then the emulator saves what it holds. Where the system has no such thing (it is Linux's)
the next `kinstream up` ends what was left behind.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask for the signal, then become the program. Process id and open files stay the same."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # It may have died before the request; then no signal would ever come.
    if os.getppid() != parent:
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 - a list, and the very point


if __name__ == "__main__":
    main()
