"""Decoding in a child process that can do little else: what a hostile file breaks is that child alone.

Each call runs in a fresh process, forked in milliseconds from a server that has the codecs loaded, one
thread, a clean environment and no connection to anything. The child's memory, computing time and files are
bounded, and the kernel keeps it from the network, other programs, other processes and other files.
Its answer is plain data, checked against the type that the work declares, and never unpickled: once a
decoder is taken over, it is the attacker who answers.
"""

from media_worker.domain.containment import SandboxLimits
from media_worker.sandbox.parent import Sandbox, plain_file

__all__ = ["Sandbox", "SandboxLimits", "plain_file"]
