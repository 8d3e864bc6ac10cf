"""Notices requests that come again: a number for operators. What counts once is the ledger's business."""

from collections import deque

_REMEMBERED = 20_000
_LOOKED_AT_BYTES = 256


class Repetitions:
    """Remembers the last requests of a process by a glance at their ends, where ids and times stand."""

    def __init__(self) -> None:
        self._seen: set[int] = set()
        self._order: deque[int] = deque()

    def has(self, app: str, body: bytes) -> bool:
        """Whether it saw such a request lately. From now on it has."""
        glance = hash((app, len(body), body[:_LOOKED_AT_BYTES], body[-_LOOKED_AT_BYTES:]))
        if glance in self._seen:
            return True
        if len(self._order) == _REMEMBERED:
            self._seen.discard(self._order.popleft())
        self._seen.add(glance)
        self._order.append(glance)
        return False
