"""What goes into the file that is made: streams copied as they are, or decoded and encoded."""

import math
from fractions import Fraction
from typing import Protocol

from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media_worker.codecs.video.packets import AnyPacket, decoded, shown_at
from media_worker.codecs.video.pictures import Pictures
from media_worker.codecs.video.reading import Source, threads
from media_worker.codecs.video.sounds import Sounds
from media_worker.domain import policy
from media_worker.domain.policy import Limits
from media_worker.domain.recordings import AudioRecipe, H264Recipe, PictureRecipe

_USUAL_FRAME_RATE = Fraction(30)
_LIMITED_RANGE = 1
_WARM_UP_SECONDS = 0.1


class Track(Protocol):
    """A stream of the file that is made. `units` counts what went into it."""

    units: int

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        """What becomes of a packet of the source."""
        ...

    def flush(self) -> list[AnyPacket]:
        """What was held back."""
        ...


class Copied:
    """A stream that is passed on as it is, but for what cameras hide in it."""

    def __init__(self, target: OutputContainer, source: Stream) -> None:
        self._out = target.add_stream_from_template(source)
        self._is_video = isinstance(source, VideoStream)
        self._filter: BitStreamFilterContext | None = None
        if self._is_video:
            # SEI messages hold what a camera adds: date, place, its make. Pictures do not need them.
            self._filter = BitStreamFilterContext("filter_units=remove_types=6", source, self._out)
            self._out.codec_context.codec_tag = "avc1"
        self._step = _ticks_a_picture(source) if isinstance(source, VideoStream) else 1
        self._waiting: list[AnyPacket] = []
        self._last_dts: int | None = None
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        if not packet.size or packet.is_corrupt:  # such as the last one of a file that is cut off
            return []
        if self._is_video and not self.units and not packet.is_keyframe:
            return []
        if not self._is_video and (_is_long_before_start(packet) or _is_cut_adts(packet)):
            return []
        self.units += 1
        if packet.dts is None and self._last_dts is None:
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
        return made + (self._renamed(self._filter.filter(None)) if self._filter else [])

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
        assert packet.dts is not None
        if self._last_dts is not None and packet.dts <= self._last_dts:
            # Finer than a sound's own clock would be nothing at all.
            packet.dts = self._last_dts + max(1, packet.duration or self._step)
        if packet.pts is not None and packet.pts < packet.dts:
            packet.pts = packet.dts
        self._last_dts = packet.dts
        return self._renamed(self._filter.filter(packet) if self._filter else [packet])

    def _renamed(self, packets: list[AnyPacket]) -> list[AnyPacket]:
        for packet in packets:
            packet.stream = self._out
        return packets


class EncodedVideo:
    """A picture stream, decoded and encoded as H.264."""

    def __init__(
        self,
        target: OutputContainer,
        source: VideoStream,
        given: Source,
        picture: PictureRecipe,
        h264: H264Recipe,
    ) -> None:
        rate = min(_rate_of(source), Fraction(h264.most_frames_a_second))
        out = target.add_stream("libx264", rate=rate, options=h264.options)
        assert isinstance(out, VideoStream)
        context = out.codec_context
        context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
        context.sample_aspect_ratio = picture.pixel_aspect
        self._tick = source.time_base or Fraction(1, 90_000)
        context.time_base = self._tick
        context.thread_type, context.thread_count = "AUTO", threads()
        context.color_range = _LIMITED_RANGE
        context.colorspace = picture.colors.matrix
        context.color_primaries = picture.colors.primaries
        context.color_trc = picture.colors.transfer
        self._out, self._container, self._limits = out, given.found.container, given.limits
        self._segment_seconds = h264.segment_seconds
        self._next_key_seconds = 0.0
        self._pictures = Pictures(picture, given.scratch)
        self._step = max(1, round(1 / (rate * self._tick)))
        # Clocks are coarse: a picture that comes a little early is not one too many.
        self._least_step = max(1, math.floor(0.9 / (h264.most_frames_a_second * self._tick)))
        self._last_pts: int | None = None
        self._seen = 0
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        return [made for frame in decoded(packet) for made in self.add(frame)]

    def add(self, frame: VideoFrame) -> list[AnyPacket]:
        """Encode a decoded picture, unless it comes too soon after the one before."""
        policy.check_picture(frame.width, frame.height, self._limits)
        self._seen += 1
        policy.check_pictures(self._seen, self._limits)
        pts = shown_at(frame, self._container)
        if pts is None:
            pts = 0 if self._last_pts is None else self._last_pts + self._step
        if self._last_pts is not None and pts < self._last_pts + self._least_step:
            return []
        self._last_pts = pts
        frame.pts = pts
        frame.time_base = self._tick
        return [made for shown in self._pictures.feed(frame) for made in self._encode(shown)]

    def flush(self) -> list[AnyPacket]:
        held = [made for shown in self._pictures.flush() for made in self._encode(shown)]
        return [*held, *self._out.encode(None)] if self.units else []

    def _encode(self, shown: VideoFrame) -> list[AnyPacket]:
        # The decoder's choice of picture types must not become the encoder's.
        shown.pict_type = 0
        if self._segment_seconds is not None and shown.time >= self._next_key_seconds:
            shown.pict_type = 1
            passed = math.floor(shown.time / self._segment_seconds)
            self._next_key_seconds = (passed + 1) * self._segment_seconds
        shown.duration = shown.duration or self._step
        self.units += 1
        return self._out.encode(shown)


class EncodedAudio:
    """A sound stream, decoded and encoded as AAC."""

    def __init__(
        self, target: OutputContainer, source: AudioStream, recipe: AudioRecipe, limits: Limits
    ) -> None:
        out = target.add_stream("aac", rate=recipe.sample_rate)
        assert isinstance(out, AudioStream)
        out.codec_context.layout = "mono" if recipe.channels == 1 else "stereo"
        out.codec_context.bit_rate = recipe.bits_a_second
        self._out, self._limits = out, limits
        self._sounds = Sounds(recipe)
        self._seen = 0
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        made: list[AnyPacket] = []
        for frame in decoded(packet):
            self._seen += 1
            policy.check_pictures(self._seen, self._limits)
            for sound in self._sounds.feed(frame):
                made += self._out.encode(sound)
                self.units += 1
        return made

    def flush(self) -> list[AnyPacket]:
        made: list[AnyPacket] = []
        for sound in self._sounds.flush():
            made += self._out.encode(sound)
            self.units += 1
        return [*made, *self._out.encode(None)] if self.units else []


def _is_long_before_start(packet: AnyPacket) -> bool:
    """Whether an edit has cut the packet off, unless it is one of the last that warm a decoder up."""
    at_seconds = float((packet.pts or 0) * (packet.time_base or 0))
    return packet.is_discard and at_seconds < -_WARM_UP_SECONDS


def _is_cut_adts(packet: AnyPacket) -> bool:
    """Whether AAC of a transport stream tells that it is longer than it is."""
    head = memoryview(packet)[:7]
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    return ((head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5) > packet.size


def _rate_of(source: VideoStream) -> Fraction:
    rate = Fraction(source.average_rate or source.guessed_rate or _USUAL_FRAME_RATE)
    return rate if 0 < rate <= 1_000 else _USUAL_FRAME_RATE


def _ticks_a_picture(source: VideoStream) -> int:
    return max(1, round(1 / (_rate_of(source) * (source.time_base or Fraction(1, 90_000)))))
