"""What goes into the file that is made: streams copied as they are, or decoded and encoded."""

from fractions import Fraction

from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from media_worker.codecs.video.reading import AnyPacket, decoded
from media_worker.codecs.video.turner import Turner
from media_worker.domain import policy
from media_worker.domain.policy import Limits
from media_worker.domain.recordings import AudioRecipe, VideoRecipe

_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_USUAL_RATE_HZ = 44_100
_MOST_FRAMES_A_SECOND = 120
_USUAL_FRAME_RATE = Fraction(30)


class Copied:
    """A stream that is passed on as it is."""

    def __init__(self, target: OutputContainer, source: Stream) -> None:
        self._out = target.add_stream_from_template(source)
        self._last_dts: int | None = None
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        if packet.dts is None or (self._last_dts is not None and packet.dts <= self._last_dts):
            return []
        self._last_dts = packet.dts
        self.units += 1
        packet.stream = self._out
        return [packet]

    def flush(self) -> list[AnyPacket]:
        return []


class EncodedVideo:
    """A picture stream, decoded and encoded as H.264."""

    def __init__(
        self, target: OutputContainer, source: VideoStream, recipe: VideoRecipe, limits: Limits
    ) -> None:
        rate = Fraction(source.average_rate or source.guessed_rate or _USUAL_FRAME_RATE)
        if rate > _MOST_FRAMES_A_SECOND:
            rate = _USUAL_FRAME_RATE
        out = target.add_stream("libx264", rate=rate, options={"crf": "23", "preset": "veryfast"})
        assert isinstance(out, VideoStream)
        context, given = out.codec_context, source.codec_context
        context.width, context.height = recipe.width, recipe.height
        context.pix_fmt = "yuv420p"
        context.sample_aspect_ratio = recipe.pixel_aspect
        tick = source.time_base or Fraction(1, 90_000)
        context.time_base = tick
        context.thread_type = "AUTO"
        for tag in ("colorspace", "color_primaries", "color_trc"):
            setattr(context, tag, getattr(given, tag))
        self._out, self._recipe, self._limits = out, recipe, limits
        self._turner = Turner(recipe.turn_degrees)
        self._step = max(1, round(1 / (rate * tick)))
        self._last_pts: int | None = None
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        return [made for frame in decoded(packet) for made in self._encode(frame)]

    def flush(self) -> list[AnyPacket]:
        return self._out.encode(None) if self.units else []

    def _encode(self, frame: VideoFrame) -> list[AnyPacket]:
        policy.check_picture(frame.width, frame.height, self._limits)
        pts = frame.pts if frame.pts is not None else frame.dts
        if pts is None:
            pts = 0 if self._last_pts is None else self._last_pts + self._step
        if self._last_pts is not None and pts <= self._last_pts:
            return []
        self._last_pts = pts
        width, height = self._recipe.width, self._recipe.height
        if self._recipe.turn_degrees % 180:
            width, height = height, width
        time_base = frame.time_base
        shown = self._turner.turn(frame.reformat(width, height, "yuv420p"))
        shown.pts, shown.time_base = pts, time_base
        # The decoder's choice of picture types must not become the encoder's.
        shown.pict_type = 0
        self.units += 1
        return self._out.encode(shown)


class EncodedAudio:
    """A sound stream, decoded and encoded as AAC."""

    def __init__(self, target: OutputContainer, source: AudioStream, recipe: AudioRecipe) -> None:
        rate = source.rate if source.rate in _AAC_RATES_HZ else _USUAL_RATE_HZ
        out = target.add_stream("aac", rate=rate)
        assert isinstance(out, AudioStream)
        out.codec_context.layout = "mono" if recipe.channels == 1 else "stereo"
        out.codec_context.bit_rate = recipe.bits_a_second
        self._out = out
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        made: list[AnyPacket] = []
        for frame in decoded(packet):
            try:
                made += self._out.encode(frame)
                self.units += 1
            except ValueError:  # the sound's form changes in mid-stream: what does not fit is left out
                continue
        return made

    def flush(self) -> list[AnyPacket]:
        return self._out.encode(None) if self.units else []
