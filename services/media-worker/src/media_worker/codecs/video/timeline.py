"""When things happen: clocks of recordings put right."""

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
            stream.index: _Clock(float(stream.time_base or 0), -start_seconds) for stream in streams
        }

    def place(self, packet: AnyPacket, index: int) -> float | None:
        """Move the packet of a stream; returns its time in seconds, where it has one."""
        clock = self._clocks[index]
        pts, dts = packet.pts, packet.dts
        at = dts if dts is not None else pts
        if at is None or not clock.tick_seconds:
            return None
        told = at * clock.tick_seconds
        seconds = told + clock.shift_seconds
        if clock.last_seconds is not None and self._is_broken(seconds - clock.last_seconds):
            # Where another stream has jumped before, this one goes along.
            if self._is_broken(told + self._newest - clock.last_seconds):
                self._newest = clock.end_seconds - told
            clock.move(self._newest)
            seconds = told + clock.shift_seconds
        clock.last_seconds = seconds
        until = max(at, pts or at) + (packet.duration or 1)
        clock.end_seconds = max(clock.end_seconds, until * clock.tick_seconds + clock.shift_seconds)
        if clock.shift_ticks:
            if pts is not None:
                packet.pts = pts + clock.shift_ticks
            if dts is not None:
                packet.dts = dts + clock.shift_ticks
        return seconds

    def _is_broken(self, step_seconds: float) -> bool:
        return step_seconds < -_BACK_SECONDS or step_seconds > self._jump_seconds


class _Clock:
    """One stream's: called for every packet, it counts in plain numbers."""

    def __init__(self, tick_seconds: float, shift_seconds: float) -> None:
        self.tick_seconds = tick_seconds
        self.last_seconds: float | None = None
        self.end_seconds = 0.0
        self.move(shift_seconds)

    def move(self, shift_seconds: float) -> None:
        self.shift_seconds = shift_seconds
        self.shift_ticks = round(shift_seconds / self.tick_seconds) if self.tick_seconds else 0
