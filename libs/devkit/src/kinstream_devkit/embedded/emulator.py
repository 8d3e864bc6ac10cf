"""The AWS emulator (ministack) as a process: its command, its environment, and when it answers."""

import os
import random
import socket
import sys
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from kinstream.errors import PermanentError

HOST = "127.0.0.1"

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "SYSTEMROOT", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_POLL_SECONDS = 0.05

# Below the ports that systems give to outgoing connections: while a killed server is away, a client that
# keeps trying would sooner or later be given its port and so hold it against the server's return.
_PORTS = range(20_000, 32_000)


def free_port(*preferred: int) -> int:
    """A port that nobody listens on: one of the preferred ones if possible. Whoever binds it must still
    be ready to hear that somebody else was faster."""
    for port in (*preferred, *random.sample(_PORTS, 200)):
        if port_is_free(port):
            return port
    raise PermanentError(f"no port from {_PORTS.start} to {_PORTS.stop - 1} is free on {HOST}")


def port_is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that linger after a stop do not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def console_script(name: str) -> Path:
    """A command that was installed beside the running Python."""
    return Path(sys.executable).parent / name


def emulator_command() -> list[str]:
    """How to start the emulator."""
    return [str(console_script("ministack"))]


def emulator_environment(
    port: int, scratch_dir: Path, state_dir: Path | None, inherited: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """Its whole environment. Nothing but the basics is inherited: a variable meant for AWS, or for
    another emulator, must not change how it behaves. With a `state_dir` it keeps its state there,
    saved on a clean stop (SIGTERM) only."""
    environment = {name: inherited[name] for name in _INHERITED if name in inherited}
    environment |= {
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,
        "MINISTACK_HOST": HOST,
        "TMPDIR": str(scratch_dir),
        "LOG_LEVEL": "WARNING",
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "S3_DATA_DIR": str((state_dir or scratch_dir) / "s3"),
    }
    if state_dir:
        environment |= {"PERSIST_STATE": "1", "S3_PERSIST": "1", "STATE_DIR": str(state_dir / "state")}
    return environment


def answers(port: int, path: str = "/_ministack/health", timeout_seconds: float = 1) -> bool:
    """Whether an HTTP server on the port answers the path with success."""
    # Not urllib: it would ask a configured proxy for our own address.
    connection = HTTPConnection(HOST, port, timeout=timeout_seconds)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (HTTPException, OSError):
        return False
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool], alive: Callable[[], bool], timeout_seconds: float) -> bool:
    """Whether the condition came true in time, while the process it depends on was alive."""
    deadline = time.monotonic() + timeout_seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        if not alive():
            return False
        time.sleep(_POLL_SECONDS)
    return False
