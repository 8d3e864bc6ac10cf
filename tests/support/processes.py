"""What other processes see of one."""

import subprocess
import sys

_LOOK = """
import sys
from media_worker.sandbox.kernel import drop_capabilities
drop_capabilities()
try:
    open(f"/proc/{sys.argv[1]}/environ", "rb").read()
except PermissionError:
    sys.exit(7)
"""


def is_seen(pid: int) -> bool:
    """Whether another of its user, without root's powers, can read a process's environment.

    Nobody can read that of a process which has them: it is to be one without.
    """
    done = subprocess.run([sys.executable, "-c", _LOOK, str(pid)], check=False)
    assert done.returncode in (0, 7)
    return done.returncode == 0
