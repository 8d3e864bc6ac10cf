"""Opening a recording and looking into it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinstream.errors import PermanentError
from media_worker.codecs.video.packets import decoded, packets, streams_of
from media_worker.domain import policy
from media_worker.domain.policy import AudioFacts, Colors, Limits, Probe, VideoFacts

NO_PICTURE = "no picture of the video can be decoded: the file is broken or cut off"

_PROBE_PACKETS = 2_000
_MOST_THREADS = 4
"""Each thread of a decoder holds pictures of its own: memory must not grow with the machine."""
_NOT_TOLD = 2
_LEAST_ASPECT = Fraction(1, 4)
"""Pixels that are longer than four times are a broken head, and would make pictures of any size."""
_USUAL_FRAME_RATE = Fraction(30)
_LARGE_PIXELS = 1920 * 1088
SKIM = {"skip_frame": "all"}
"""For a look into a file: else its first picture is decoded while it is opened, and then once more."""
_NOTHING_MORE: Mapping[str, str] = {}
_HEADLESS = ("mpegts",)
"""Where the size of pictures is told by themselves alone."""


def probe(path: Path, container: str, limits: Limits) -> Probe:
    """What is in the file, decoding no more than its beginning; PermanentError where it may not be used."""
    with opened(path, container, limits, _NOTHING_MORE if container in _HEADLESS else SKIM) as source:
        video, audio = streams_of(source)
        found = Probe(
            container=container,
            streams=len(source.streams),
            duration_seconds=source.duration / av.time_base if source.duration else None,
            video=_video_facts(video) if video else None,
            audio=_audio_facts(audio) if audio else None,
            pictures=video.frames if video else 0,
        )
        policy.check_probe(found, limits)
        for stream in filter(None, (video, audio)):  # threads would decode more than is looked at
            stream.codec_context.thread_count = 1
        picture, sound = _first_frames(source, video, audio, limits)
        if found.video and video:
            if not picture:
                raise PermanentError(NO_PICTURE)
            found = replace(found, video=_seen(found.video, video, picture))
    # A track without a single frame is left out, it must not fail the rest.
    found = replace(found, audio=_heard(found.audio, sound) if found.audio and sound else None)
    if found.duration_seconds is None:
        found = replace(found, duration_seconds=_counted_seconds(path, found, limits))
    policy.check_probe(found, limits)
    return found


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was probed."""

    path: Path
    found: Probe
    limits: Limits
    scratch: Path
    """Where files may lie for a moment."""

    def opened(self) -> AbstractContextManager[InputContainer]:
        """As `opened`."""
        return opened(self.path, self.found.container, self.limits)


@contextmanager
def opened(
    path: Path, container: str, limits: Limits, more: Mapping[str, str] = _NOTHING_MORE
) -> Iterator[InputContainer]:
    """The file, opened as what it is and nothing else; PermanentError where that fails."""
    # These hold the decoders that look into the file while it is opened, before policy can.
    decoders = ",".join(policy.DECODERS)
    options = {
        "protocol_whitelist": "file",
        "format_whitelist": container,
        "codec_whitelist": decoders,
        "max_pixels": str(limits.video_pixels),
        "max_streams": str(max(64, limits.streams)),
        **more,
    }
    try:
        source = av.open(str(path), format=container, options=options, metadata_errors="replace")
    except FFmpegError as error:
        raise PermanentError("the file is broken or cut off: it cannot be opened as media") from error
    with source:
        for stream in (*source.streams.video, *source.streams.audio):
            context = stream.codec_context
            if context is not None:
                context.options = {"max_pixels": str(limits.video_pixels), "codec_whitelist": decoders}
                context.thread_type = "AUTO"
                context.thread_count = _threads(stream)
        yield source


def threads() -> int:
    """As many as there are cores, within bounds."""
    return min(_MOST_THREADS, os.cpu_count() or 1)


def rate_of(video: VideoStream) -> Fraction:
    """Pictures a second on average, or a usual number where the file tells none or nonsense."""
    rate = Fraction(video.average_rate or video.guessed_rate or _USUAL_FRAME_RATE)
    return rate if 0 < rate <= 1_000 else _USUAL_FRAME_RATE


def _counted_seconds(path: Path, found: Probe, limits: Limits) -> float | None:
    """How long a recording is whose head does not tell, such as a browser's: nothing is decoded for it."""
    longest = 0.0
    with opened(path, found.container, limits, SKIM) as source:
        start_seconds = (source.start_time or 0) / av.time_base
        for number, packet in enumerate(packets(source, *streams_of(source))):
            policy.check_pictures(number, limits)
            if packet.pts is not None and packet.time_base is not None:
                end_seconds = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                longest = max(longest, end_seconds - start_seconds)
    return longest or None


def _threads(stream: Stream) -> int:
    if not isinstance(stream, VideoStream):
        return 1
    large = stream.codec_context.width * stream.codec_context.height > _LARGE_PIXELS
    return min(2, threads()) if large else threads()


def _video_facts(video: VideoStream) -> VideoFacts:
    context = video.codec_context
    rate = video.average_rate or video.guessed_rate or 0
    return VideoFacts(
        codec=context.name,
        width=context.width,
        height=context.height,
        pixel_format=context.pix_fmt or "",
        frame_rate=float(rate),
        colors=Colors(int(context.colorspace), int(context.color_primaries), int(context.color_trc)),
    )


def _seen(facts: VideoFacts, video: VideoStream, picture: VideoFrame) -> VideoFacts:
    """With what only a decoded picture tells."""
    told = facts.colors
    aspect = video.sample_aspect_ratio or video.codec_context.sample_aspect_ratio or Fraction(1)
    return replace(
        facts,
        width=picture.width,
        height=picture.height,
        pixel_format=picture.format.name,
        pixel_aspect=(aspect.numerator, aspect.denominator)
        if _LEAST_ASPECT <= aspect <= 1 / _LEAST_ASPECT
        else (1, 1),
        rotation=picture.rotation,
        interlaced=picture.interlaced_frame,
        colors=Colors(
            _told(picture.colorspace, told.matrix),
            _told(picture.color_primaries, told.primaries),
            _told(picture.color_trc, told.transfer),
        ),
    )


def _told(seen: int, known: int) -> int:
    return known if int(seen) == _NOT_TOLD else int(seen)


def _audio_facts(audio: AudioStream) -> AudioFacts:
    return AudioFacts(
        audio.codec_context.name, audio.rate or 0, audio.channels, audio.codec_context.bit_rate or 0
    )


def _heard(facts: AudioFacts, sound: AudioFrame) -> AudioFacts:
    return replace(facts, sample_rate=sound.sample_rate, channels=sound.layout.nb_channels)


def _first_frames(
    source: InputContainer, video: VideoStream | None, audio: AudioStream | None, limits: Limits
) -> tuple[VideoFrame | None, AudioFrame | None]:
    picture: VideoFrame | None = None
    sound: AudioFrame | None = None
    for number, packet in enumerate(packets(source, video, audio)):
        for frame in decoded(packet):
            if isinstance(frame, VideoFrame):
                policy.check_picture(frame.width, frame.height, limits)
                picture = picture or frame
            else:
                sound = sound or frame
        done = (picture or not video) and (sound or not audio)
        if done or number >= _PROBE_PACKETS:
            break
    return picture, sound
