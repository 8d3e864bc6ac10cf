"""Runs a command that dies with its parent: `python leash.py PARENT_PID COMMAND...`.

On Linux the kernel kills the command when its parent goes, however that happens. Elsewhere the command may
outlive a killed parent; it then ends by itself, and nobody reads what it wrote.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone already")
    os.execv(command[0], command)  # noqa: S606 - a list, no shell


if __name__ == "__main__":
    main()
