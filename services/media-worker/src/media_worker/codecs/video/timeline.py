"""When things happen: clocks of recordings put right."""

import math
from collections.abc import Iterable

from av.stream import Stream

from media_worker.codecs.video.packets import AnyPacket

_BACK_SECONDS = 0.5
_JUMP_SECONDS = {"mpegts": 10.0}
"""A broadcast's clock may start anew at any place. Elsewhere a long still is an honest one."""
_LONG_STILL_SECONDS = 3_600.0


class Timeline:
    """Moves packets' times so that the recording starts at 0 and no broken clock leaves a hole.

    All streams are moved alike, so that sound and picture stay together.
    """

    def __init__(self, container: str, start_seconds: float, streams: Iterable[Stream]) -> None:
        jump_seconds = _JUMP_SECONDS.get(container, _LONG_STILL_SECONDS)
        self._newest_seconds = -start_seconds
        self._clocks = {
            stream.index: _Clock(float(stream.time_base), jump_seconds, -start_seconds)
            for stream in streams
            if stream.time_base
        }

    def place(self, packet: AnyPacket, index: int) -> float | None:
        """Move the packet of a stream; returns its time in seconds, where it has one."""
        clock = self._clocks.get(index)
        pts, dts = packet.pts, packet.dts
        told = pts if dts is None else dts
        if told is None or clock is None:
            return None
        at = told + clock.shift
        last = clock.last
        if last is not None:
            if not clock.most_back <= at - last <= clock.most_ahead:
                self._mend(clock, told, last)
                at = told + clock.shift
            clock.step = at - last
        clock.last = at
        shift = clock.shift
        shown = pts + shift if pts is not None and pts > told else at
        if shown > clock.shown:  # noqa: PLR1730 -- a call of max costs more than all else here
            clock.shown = shown
        if shift:
            if pts is not None:
                packet.pts = pts + shift
            if dts is not None:
                packet.dts = dts + shift
        return at * clock.tick_seconds

    def _mend(self, clock: "_Clock", told: int, last: int) -> None:
        # Where another stream has jumped before, this one goes along.
        clock.move(self._newest_seconds)
        if not clock.most_back <= told + clock.shift - last <= clock.most_ahead:
            self._newest_seconds = clock.end_seconds - told * clock.tick_seconds
            clock.move(self._newest_seconds)


class _Clock:
    """One stream's: looked at for every packet, it counts in whole ticks."""

    def __init__(self, tick_seconds: float, jump_seconds: float, shift_seconds: float) -> None:
        self.tick_seconds = tick_seconds
        self.most_back = -math.floor(_BACK_SECONDS / tick_seconds)
        self.most_ahead = math.floor(jump_seconds / tick_seconds)
        self.last: int | None = None
        self.step = 0
        self.shown = 0
        """The latest that anything is shown so far."""
        self.move(shift_seconds)

    @property
    def end_seconds(self) -> float:
        """When what has come is over: the last packet lasts as long as the one before."""
        return (self.shown + max(1, self.step)) * self.tick_seconds

    def move(self, shift_seconds: float) -> None:
        self.shift = round(shift_seconds / self.tick_seconds)
