"""Recordings through FFmpeg's libraries: probe, MP4 or M4A, poster. Nothing else here imports `av`.

The format is given, never guessed, so that a playlist under a video's name opens nothing; sizes are
held to the limits before and while decoding. A stream with broken places keeps what plays.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.error import FFmpegError
from av.filter import Graph
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from kinstream.errors import PermanentError
from media_worker.domain import policy
from media_worker.domain.policy import AudioFacts, Limits, Probe, VideoFacts
from media_worker.domain.recipes import (
    POSTER_CANDIDATES,
    AudioRecipe,
    Recipe,
    Scale,
    VideoRecipe,
    clockwise_turn,
    fit,
)

Progress = Callable[[float], None]
AnyPacket: TypeAlias = "Packet[Any]"

_PROBE_PACKETS = 500
_AAC_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_USUAL_RATE_HZ = 44_100
_MOST_FRAMES_A_SECOND = 120
_USUAL_FRAME_RATE = Fraction(30)
_SCORE_SIDE = 320
_TURNS = {90: ("transpose=clock",), 180: ("hflip", "vflip"), 270: ("transpose=cclock",)}


def probe(path: Path, container: str, limits: Limits) -> Probe:
    """What is in the file, decoding no more than its beginning; PermanentError where it may not be used."""
    with _opened(path, container, limits) as source:
        video, audio = _streams(source)
        found = Probe(
            container=container,
            streams=len(source.streams),
            duration_seconds=source.duration / av.time_base if source.duration else None,
            video=_video_facts(video) if video else None,
            audio=AudioFacts(audio.codec_context.name, audio.rate, audio.channels) if audio else None,
        )
        policy.check_probe(found, limits)
        picture, sound = _first_frames(source, video, audio, limits)
    if found.video and not picture:
        raise PermanentError("no picture of the video can be decoded: the file is broken or cut off")
    if found.video and picture:
        found = replace(found, video=replace(found.video, rotation=picture.rotation))
    if not sound:  # a track without a single frame is left out, it must not fail the rest
        found = replace(found, audio=None)
    policy.check_probe(found, limits)
    return found


def convert(
    path: Path, found: Probe, recipe: Recipe, destination: Path, *, limits: Limits, progress: Progress
) -> float:
    """Write the MP4 (or M4A) and return its duration in seconds. Nothing of the source's metadata goes along.

    `progress` hears a fraction from 0 to 1 now and then.
    """
    flavour = "mp4" if recipe.video else "ipod"
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with (
        _opened(path, found.container, limits) as source,
        av.open(str(destination), "w", format=flavour, options=options) as target,
    ):
        video, audio = _streams(source)
        tracks: dict[int, _Copied | _EncodedVideo | _EncodedAudio] = {}
        if video and recipe.video:
            tracks[video.index] = _video_track(target, video, recipe.video, limits)
        if audio and recipe.audio:
            tracks[audio.index] = _audio_track(target, audio, recipe.audio)
        for packet in _packets(source, video if recipe.video else None, audio if recipe.audio else None):
            if packet.pts is not None and packet.time_base is not None:
                at_seconds = float(packet.pts * packet.time_base)
                policy.check_duration(at_seconds, limits)
                progress(min(1.0, at_seconds / (found.duration_seconds or limits.video_duration_seconds)))
            target.mux(tracks[packet.stream.index].feed(packet))
        for track in tracks.values():
            target.mux(track.flush())
        if not all(track.units for track in tracks.values() if not isinstance(track, _EncodedAudio)):
            raise PermanentError("no picture of the video can be decoded: the file is broken or cut off")
    with av.open(str(destination), format="mov") as made:
        return made.duration / av.time_base if made.duration else 0.0


def write_poster(path: Path, found: Probe, scale: Scale, destination: Path, limits: Limits) -> None:
    """A JPEG of the sharpest of several pictures, right way up, with square pixels."""
    assert found.video is not None
    turn = clockwise_turn(found.video.rotation)
    best: tuple[int, VideoFrame] | None = None
    with _opened(path, found.container, limits) as source:
        for frame in _candidates(source, found.duration_seconds):
            # At one quality, the picture with most detail makes the largest JPEG.
            score = len(_jpeg(frame, *_even(*fit(scale.width, scale.height, _SCORE_SIDE)), turn))
            if best is None or score > best[0]:
                best = score, frame
    if best is None:
        raise PermanentError("no picture of the video can be decoded: the file is broken or cut off")
    destination.write_bytes(_jpeg(best[1], scale.width, scale.height, turn))


class _Copied:
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


class _EncodedVideo:
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
        self._turner = _Turner(recipe.turn_degrees)
        self._step = max(1, round(1 / (rate * tick)))
        self._last_pts: int | None = None
        self.units = 0

    def feed(self, packet: AnyPacket) -> list[AnyPacket]:
        return [made for frame in _decoded(packet) for made in self._encode(frame)]

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


class _EncodedAudio:
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
        for frame in _decoded(packet):
            try:
                made += self._out.encode(frame)
                self.units += 1
            except ValueError:  # the sound's form changes in mid-stream: what does not fit is left out
                continue
        return made

    def flush(self) -> list[AnyPacket]:
        return self._out.encode(None) if self.units else []


class _Turner:
    """Turns pictures of one size clockwise by quarters."""

    def __init__(self, degrees: int) -> None:
        self._filters = _TURNS.get(degrees, ())
        self._graph: Graph | None = None

    def turn(self, frame: VideoFrame) -> VideoFrame:
        if not self._filters:
            return frame
        if self._graph is None:
            self._graph = Graph()
            nodes = [
                self._graph.add_buffer(
                    width=frame.width,
                    height=frame.height,
                    format=frame.format,
                    time_base=frame.time_base or Fraction(1, 90_000),
                )
            ]
            for text in self._filters:
                name, _, value = text.partition("=")
                nodes.append(self._graph.add(name, value or None))
            nodes.append(self._graph.add("buffersink"))
            self._graph.link_nodes(*nodes).configure()
        self._graph.vpush(frame)
        return self._graph.vpull()


@contextmanager
def _opened(path: Path, container: str, limits: Limits) -> Iterator[InputContainer]:
    # max_pixels holds the decoders that look into the file while it is opened, before policy can.
    options = {"protocol_whitelist": "file", "max_pixels": str(limits.video_pixels)}
    try:
        source = av.open(str(path), format=container, options=options, metadata_errors="replace")
    except FFmpegError as error:
        raise PermanentError("the file is broken or cut off: it cannot be opened as media") from error
    with source:
        for stream in (*source.streams.video, *source.streams.audio):
            stream.codec_context.options = {"max_pixels": str(limits.video_pixels)}
            stream.codec_context.thread_type = "AUTO"
        yield source


def _streams(source: InputContainer) -> tuple[VideoStream | None, AudioStream | None]:
    pictures = [s for s in source.streams.video if not s.disposition & Disposition.attached_pic]
    sounds = [s for s in source.streams.audio if s.codec_context is not None]
    return (pictures[0] if pictures else None), (sounds[0] if sounds else None)


def _video_facts(video: VideoStream) -> VideoFacts:
    context = video.codec_context
    aspect = video.sample_aspect_ratio or Fraction(1)
    return VideoFacts(
        codec=context.name,
        width=context.width,
        height=context.height,
        pixel_format=context.pix_fmt or "",
        pixel_aspect=aspect if aspect > 0 else Fraction(1),
    )


def _first_frames(
    source: InputContainer, video: VideoStream | None, audio: AudioStream | None, limits: Limits
) -> tuple[VideoFrame | None, bool]:
    picture: VideoFrame | None = None
    sound = False
    for number, packet in enumerate(_packets(source, video, audio)):
        for frame in _decoded(packet):
            if isinstance(frame, VideoFrame):
                policy.check_picture(frame.width, frame.height, limits)
                picture = picture or frame
            else:
                sound = True
        done = (picture or not video) and (sound or not audio)
        if done or number >= _PROBE_PACKETS:
            break
    return picture, sound


def _packets(source: InputContainer, *streams: Stream | None) -> Iterator[AnyPacket]:
    """Packets up to the end, or up to where the file breaks off."""
    try:
        yield from source.demux(*[stream for stream in streams if stream])
    except FFmpegError:
        return


def _decoded(packet: AnyPacket) -> Iterator[Any]:
    try:
        yield from packet.decode()
    except FFmpegError:  # one broken place; decoders go on after it
        return


def _candidates(source: InputContainer, duration_seconds: float | None) -> Iterator[VideoFrame]:
    video, _ = _streams(source)
    assert video is not None
    first = next(_pictures(source, video), None)
    if first is None:
        return
    yield first
    seen = {first.pts}
    for number in range(1, POSTER_CANDIDATES):
        at_seconds = (duration_seconds or 0) * number / POSTER_CANDIDATES
        try:
            source.seek(round(at_seconds / (video.time_base or 1)), stream=video)
        except FFmpegError:
            continue
        frame = next(_pictures(source, video), None)
        if frame is not None and frame.pts not in seen:
            seen.add(frame.pts)
            yield frame


def _pictures(source: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
    for packet in _packets(source, video):
        yield from _decoded(packet)


def _jpeg(frame: VideoFrame, width: int, height: int, turn_degrees: int) -> bytes:
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuvj420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"qmin": "3", "qmax": "3"}
    if turn_degrees % 180:
        width, height = height, width
    flat = frame.reformat(
        width, height, "yuvj420p", dst_colorspace=Colorspace.ITU601, dst_color_range=ColorRange.JPEG
    )
    shown = _Turner(turn_degrees).turn(flat)
    shown.pts, shown.pict_type = 0, 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(shown), *encoder.encode(None)])


def _even(width: int, height: int) -> tuple[int, int]:
    return max(2, width - width % 2), max(2, height - height % 2)


def _video_track(
    target: OutputContainer, source: VideoStream, recipe: VideoRecipe, limits: Limits
) -> _Copied | _EncodedVideo:
    return _Copied(target, source) if recipe.copy else _EncodedVideo(target, source, recipe, limits)


def _audio_track(
    target: OutputContainer, source: AudioStream, recipe: AudioRecipe
) -> _Copied | _EncodedAudio:
    return _Copied(target, source) if recipe.copy else _EncodedAudio(target, source, recipe)
