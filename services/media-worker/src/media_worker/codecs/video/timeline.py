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
        self._jump_seconds = _JUMP_SECONDS.get(container, _LONG_STILL_SECONDS)
        self._newest = -start_seconds
        self._clocks = {
            stream.index: _Clock(float(stream.time_base), -start_seconds)
            for stream in streams
            if stream.time_base
        }

    def place(self, packet: AnyPacket, index: int) -> float | None:
        """Move the packet of a stream; returns its time in seconds, where it has one."""
        clock = self._clocks.get(index)
        pts, dts = packet.pts, packet.dts
        at = pts if dts is None else dts
        if at is None or clock is None:
            return None
        seconds = at * clock.tick_seconds + clock.shift_seconds
        step_seconds = seconds - clock.last_seconds
        if self._is_broken(step_seconds):
            self._mend(clock, at * clock.tick_seconds)
            seconds = at * clock.tick_seconds + clock.shift_seconds
            step_seconds = seconds - clock.last_seconds
        shown_seconds = seconds
        if pts is not None and pts > at:
            shown_seconds = pts * clock.tick_seconds + clock.shift_seconds
        clock.shown_seconds = max(clock.shown_seconds, shown_seconds)
        clock.step_seconds, clock.last_seconds = step_seconds, seconds
        if clock.shift_ticks:
            if pts is not None:
                packet.pts = pts + clock.shift_ticks
            if dts is not None:
                packet.dts = dts + clock.shift_ticks
        return seconds

    def _mend(self, clock: "_Clock", told_seconds: float) -> None:
        # Where another stream has jumped before, this one goes along.
        if self._is_broken(told_seconds + self._newest - clock.last_seconds):
            self._newest = clock.end_seconds - told_seconds
        clock.move(self._newest)

    def _is_broken(self, step_seconds: float) -> bool:
        return step_seconds < -_BACK_SECONDS or step_seconds > self._jump_seconds


class _Clock:
    """One stream's: looked at for every packet, it counts in plain numbers."""

    def __init__(self, tick_seconds: float, shift_seconds: float) -> None:
        self.tick_seconds = tick_seconds
        self.last_seconds = self.step_seconds = math.nan
        """Not known before the first packet, and the second: no step is broken then."""
        self.shown_seconds = 0.0
        self.move(shift_seconds)

    @property
    def end_seconds(self) -> float:
        """When what has come is over: the last packet lasts as long as the one before."""
        return self.shown_seconds + max(self.tick_seconds, self.step_seconds)

    def move(self, shift_seconds: float) -> None:
        self.shift_seconds = shift_seconds
        self.shift_ticks = round(shift_seconds / self.tick_seconds)
