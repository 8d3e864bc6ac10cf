"""Streams that go into the file that is made as they are, but for what cameras hide in them."""

from collections.abc import Callable
from fractions import Fraction
from typing import TypeAlias

from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.error import InvalidDataError
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from media_worker.codecs.video.packets import AnyPacket
from media_worker.codecs.video.reading import rate_of

_Strip: TypeAlias = Callable[[AnyPacket], list[AnyPacket]]

_WARM_UP_SECONDS = 0.1
_SEI = 6
_PICTURE = (1, 5)
"""Units of a picture: messages come before them."""


class Copied:
    """A stream that is passed on."""

    def __init__(self, target: OutputContainer, source: Stream, container: str) -> None:
        self._out = target.add_stream_from_template(source)
        self._is_video = isinstance(source, VideoStream)
        self._is_adts = container in ("mpegts", "aac") and not self._is_video
        # SEI messages hold what a camera adds: date, place, its make. Pictures do not need them.
        self._strip: _Strip | None = None
        if isinstance(source, VideoStream) and isinstance(self._out, VideoStream):
            self._strip = _strip(source, self._out)
        self._step = _ticks_a_picture(source) if isinstance(source, VideoStream) else 1
        self._waiting: list[AnyPacket] = []
        self._last_dts: int | None = None
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        if not packet.size or packet.is_corrupt:  # such as the last one of a file that is cut off
            return []
        if self._is_video:
            if not self.units and not packet.is_keyframe:
                return []
        elif (packet.is_discard and _is_long_before_start(packet)) or (
            self._is_adts and _is_cut_adts(packet)
        ):
            return []
        self.units += 1
        dts = packet.dts
        if dts is not None and not self._waiting:
            return self._sent(packet)
        if dts is None and self._last_dts is None:
            # Matroska tells no decoding times, and the first ones are known only later.
            self._waiting.append(packet)
            return []
        return [done for one in self._timed(packet) for done in self._sent(one)]

    def flush(self) -> list[AnyPacket]:
        waiting, self._waiting = self._waiting, []
        made: list[AnyPacket] = []
        for number, packet in enumerate(waiting):
            packet.dts = (packet.pts or 0) if number == 0 else (self._last_dts or 0) + self._step
            made += self._sent(packet)
        return made

    def _timed(self, packet: AnyPacket) -> list[AnyPacket]:
        waiting, self._waiting = self._waiting, []
        for back, early in enumerate(reversed(waiting), 1):
            assert packet.dts is not None
            early.dts = packet.dts - back * self._step
        if packet.dts is None:
            assert self._last_dts is not None
            packet.dts = self._last_dts + self._step
        return [*waiting, packet]

    def _sent(self, packet: AnyPacket) -> list[AnyPacket]:
        dts, pts = packet.dts, packet.pts
        assert dts is not None
        if self._last_dts is not None and dts <= self._last_dts:
            # Finer than a sound's own clock would be nothing at all.
            dts = packet.dts = self._last_dts + max(1, packet.duration or self._step)
        if pts is not None and pts < dts:
            packet.pts = dts
        self._last_dts = dts
        if self._strip is None:
            packet.stream = self._out
            return [packet]
        try:
            stripped = self._strip(packet)
        except InvalidDataError:  # a picture so broken that no player could show it
            return []
        for one in stripped:
            one.stream = self._out
        return stripped


def _strip(source: VideoStream, out: VideoStream) -> _Strip:
    extradata = source.codec_context.extradata or b""
    if extradata[:1] == b"\x01" and len(extradata) > 4:
        return _without_sei(1 + (extradata[4] & 3))
    # Units between start codes, as in a transport stream.
    units = BitStreamFilterContext(f"filter_units=remove_types={_SEI}", source, out)
    out.codec_context.codec_tag = "avc1"
    return units.filter


def _without_sei(length_bytes: int) -> _Strip:
    """For units that have their length before them. Most packets have no such message, and cost little."""

    def strip(packet: AnyPacket) -> list[AnyPacket]:
        raw = memoryview(packet)
        if len(raw) > length_bytes and raw[length_bytes] & 0x1F in _PICTURE:
            return [packet]
        at, end = 0, len(raw)
        kept: list[memoryview] = []
        found = False
        while at + length_bytes < end:
            until = at + length_bytes + int.from_bytes(raw[at : at + length_bytes], "big")
            if raw[at + length_bytes] & 0x1F == _SEI:
                found = True
            else:
                kept.append(raw[at:until])
            at = until
        if not found:
            return [packet]
        return [_copy(packet, b"".join(kept))] if kept else []

    return strip


def _copy(packet: AnyPacket, content: bytes) -> AnyPacket:
    made: AnyPacket = Packet(content)
    made.pts, made.dts, made.duration = packet.pts, packet.dts, packet.duration
    made.time_base = packet.time_base
    made.is_keyframe = packet.is_keyframe
    return made


def _is_long_before_start(packet: AnyPacket) -> bool:
    """Whether an edit has cut the packet off, unless it is one of the last that warm a decoder up."""
    at_seconds = float((packet.pts or 0) * (packet.time_base or 0))
    return at_seconds < -_WARM_UP_SECONDS


def _is_cut_adts(packet: AnyPacket) -> bool:
    """Whether AAC of a transport stream tells that it is longer than it is."""
    head = memoryview(packet)[:7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    return ((head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5) > packet.size


def _ticks_a_picture(source: VideoStream) -> int:
    return max(1, round(1 / (rate_of(source) * (source.time_base or Fraction(1, 90_000)))))
