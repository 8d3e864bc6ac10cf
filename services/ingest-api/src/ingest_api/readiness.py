"""Whether requests may be sent here, as load balancers and workers' health checks ask."""

from collections.abc import Callable

from kinstream.readiness import ReadyFile


class Readiness:
    """Ready once all dependencies have answered, and no more as soon as the service is to stop."""

    def __init__(self, ready_file: ReadyFile) -> None:
        self._ready_file = ready_file
        self._ready = False
        self._endings: list[Callable[[], object]] = []

    def __call__(self) -> bool:
        return self._ready

    def set(self, ready: bool) -> None:
        """Turn it on or off."""
        self._ready = ready
        if ready:
            self._ready_file.mark()
        else:
            self._ready_file.clear()
            for end in self._endings:
                end()

    def at_the_end(self, end: Callable[[], object]) -> None:
        """Call `end` when the service is to stop: for what would otherwise go on until its client leaves."""
        self._endings.append(end)
