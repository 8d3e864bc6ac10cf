"""How far a command has come, on stderr, for whoever waits for more than two seconds."""

import sys
import time

from rich.console import Console

_QUIET_SECONDS = 2.0
_SECONDS_APART = 2.0
_ON_A_TERMINAL_SECONDS = 0.2
_BAR_CHARACTERS = 30


class Progress:
    """One line that is kept up to date on a terminal; elsewhere a line now and then."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._console = Console(file=sys.stderr)
        self._apart = _ON_A_TERMINAL_SECONDS if self._console.is_terminal else _SECONDS_APART
        self._next = time.monotonic() + _QUIET_SECONDS
        self._shown = False

    def at(self, done: int, total: int) -> None:
        """Say that `done` of `total` are done, if it is time to."""
        self.at_text(f"{self._what}: {done:,} of {total:,}")

    def at_text(self, text: str) -> None:
        """Say this, if it is time to say something."""
        if time.monotonic() >= self._next:
            self.say(text)

    def say(self, text: str) -> None:
        """Say something at once."""
        self._next = time.monotonic() + self._apart
        self._shown = True
        if self._console.is_terminal:
            self._console.print(f"\r\x1b[K{text}", end="", markup=False, highlight=False)
        else:
            self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def end(self) -> None:
        """Take the line away."""
        if self._shown and self._console.is_terminal:
            self._console.print("\r\x1b[K", end="")


def bar_of(done: int, total: int) -> str:
    """So much of it is done."""
    full = _BAR_CHARACTERS * min(done, total) // max(total, 1)
    return f"[{'#' * full}{'.' * (_BAR_CHARACTERS - full)}]"
