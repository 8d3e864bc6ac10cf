"""A real Redis for tests: the embedded server, in a process of its own."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kinstream_devkit.embedded.emulator import HOST, free_port, wait_until
from kinstream_devkit.embedded.redis_server import redis_answers, redis_command
from tests.support.containers import require_embedded

_START_ATTEMPTS = 4
_START_SECONDS = 120
_STOP_SECONDS = 60


@contextmanager
def redis_server(port: int | None = None) -> Iterator[str]:
    """URL of an empty server that ends with the block."""
    require_embedded("a Redis")
    with tempfile.TemporaryDirectory(prefix="kinstream-redis-") as folder:
        process, chosen = _start(Path(folder), port)
        try:
            yield f"redis://{HOST}:{chosen}/0"
        finally:
            process.kill()
            process.wait(_STOP_SECONDS)


def _start(folder: Path, port: int | None) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(_START_ATTEMPTS):
        chosen = port or free_port()
        process = subprocess.Popen(redis_command(chosen, folder), stdout=subprocess.DEVNULL)
        up = wait_until(lambda p=chosen: redis_answers(p), lambda p=process: p.poll() is None, _START_SECONDS)
        # The process must outlive the first answer: another server may have taken the port first.
        if up and process.poll() is None:
            return process, chosen
        process.kill()
        process.wait(_STOP_SECONDS)
    raise RuntimeError("the embedded Redis did not start")
