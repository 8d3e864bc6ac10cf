"""Ctrl-C and its like: the first ends what is under way, further ones do not end the clean-up."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def end_by_signals() -> None:
    """From now on SIGTERM and SIGHUP raise KeyboardInterrupt, too: whatever was started is stopped."""
    for number in _SIGNALS:
        # Ctrl-C even where it was ignored, for a shell starts what it puts into the background deaf to it;
        # but who says nohup means it.
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Meanwhile none of these signals does anything. In the main thread alone."""
    before = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _interrupt(number: int, _frame: FrameType | None) -> None:
    if number == signal.SIGHUP:
        _speak_to_nobody()
    raise KeyboardInterrupt


def _speak_to_nobody() -> None:
    # The terminal is gone: to write to it would be an error in the middle of the clean-up.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.__stdout__, sys.__stderr__):
        if stream:
            os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
