"""How a worker without a port says that it is ready: a file that its health check looks for."""

from pathlib import Path


class ReadyFile:
    """Present while the service is ready. Without a path nothing is written."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def mark(self) -> None:
        """Ready: all dependencies answered."""
        if self._path:
            self._path.write_text("ready\n")

    def clear(self) -> None:
        """Not ready any more, or not yet."""
        if self._path:
            self._path.unlink(missing_ok=True)
