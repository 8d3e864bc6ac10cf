"""Processes of this machine."""

import os


def is_alive(pid: int) -> bool:
    """Whether a process of this number runs, whoever it belongs to."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
