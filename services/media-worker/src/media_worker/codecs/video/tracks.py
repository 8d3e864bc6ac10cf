"""What goes into the file that is made: streams copied as they are, or decoded and encoded."""

import math
from fractions import Fraction
from typing import Protocol

from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media_worker.codecs.video.packets import AnyPacket, decoded, shown_at
from media_worker.codecs.video.pictures import Pictures
from media_worker.codecs.video.reading import Source, rate_of, threads
from media_worker.codecs.video.sounds import Sounds
from media_worker.domain import policy
from media_worker.domain.policy import Limits
from media_worker.domain.recordings import AudioRecipe, H264Recipe, PictureRecipe

_LIMITED_RANGE = 1


class Track(Protocol):
    """A stream of the file that is made. `units` counts what went into it."""

    units: int

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        """What becomes of a packet of the source."""
        ...

    def flush(self) -> list[AnyPacket]:
        """What was held back."""
        ...


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
        rate = min(rate_of(source), Fraction(h264.most_frames_a_second))
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
        self._first_dts: int | None = None
        self._late = 0
        self._seen = 0
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        if self._first_dts is None:
            self._first_dts = packet.dts
        return [made for frame in decoded(packet) for made in self._add(frame)]

    def _add(self, frame: VideoFrame) -> list[AnyPacket]:
        """Encode a decoded picture, unless it comes too soon after the one before."""
        policy.check_picture(frame.width, frame.height, self._limits)
        self._seen += 1
        policy.check_pictures(self._seen, self._limits)
        pts = shown_at(frame, self._container)
        if pts is None:
            pts = self._late if self._last_pts is None else self._last_pts + self._late + self._step
        if self._last_pts is None and self._container == "avi" and self._first_dts is not None:
            # Its only times are those of decoding, which comes before a picture is shown.
            self._late = max(0, pts - self._first_dts)
        pts -= self._late
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
