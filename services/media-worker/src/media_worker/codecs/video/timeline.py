"""When things happen: clocks of recordings put right."""

from fractions import Fraction

from media_worker.codecs.video.packets import AnyPacket

_BACK_SECONDS = 0.5
_JUMP_SECONDS = {"mpegts": 10.0}
"""A broadcast's clock may start anew at any place. Elsewhere a long still is an honest one."""
_LONG_STILL_SECONDS = 3_600.0


class Timeline:
    """Moves packets' times so that the recording starts at 0 and no broken clock leaves a hole.

    All streams are moved alike, so that sound and picture stay together.
    """

    def __init__(self, container: str, start_seconds: float) -> None:
        self._jump_seconds = _JUMP_SECONDS.get(container, _LONG_STILL_SECONDS)
        self._newest = -start_seconds
        self._shifts: dict[int, float] = {}
        self._last: dict[int, float] = {}
        self._ends: dict[int, float] = {}

    def place(self, packet: AnyPacket) -> float | None:
        """Move the packet; returns its time in seconds, where it has one."""
        at, tick = packet.dts if packet.dts is not None else packet.pts, packet.time_base
        if at is None or not tick:
            return None
        index = packet.stream.index
        told, shift = float(at * tick), self._shifts.get(index, self._newest)
        last = self._last.get(index)
        if last is not None and self._is_broken(told + shift - last):
            # Where another stream has jumped before, this one goes along.
            along = self._newest
            shift = along if not self._is_broken(told + along - last) else self._ends[index] - told
            self._newest = shift
        self._shifts[index] = shift
        self._last[index] = told + shift
        until = max(at, packet.pts or at) + max(packet.duration or 0, 1)
        self._ends[index] = max(self._ends.get(index, 0.0), float(until * tick) + shift)
        _move(packet, round(Fraction(shift) / tick) if shift else 0)
        return told + shift

    def _is_broken(self, step_seconds: float) -> bool:
        return step_seconds < -_BACK_SECONDS or step_seconds > self._jump_seconds


def _move(packet: AnyPacket, ticks: int) -> None:
    if not ticks:
        return
    if packet.pts is not None:
        packet.pts += ticks
    if packet.dts is not None:
        packet.dts += ticks
