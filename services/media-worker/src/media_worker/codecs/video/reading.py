"""Opening a recording, looking into it, and getting packets and pictures out of it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinstream.errors import PermanentError
from media_worker.domain import policy
from media_worker.domain.policy import AudioFacts, Limits, Probe, VideoFacts

AnyPacket: TypeAlias = "Packet[Any]"

NO_PICTURE = "no picture of the video can be decoded: the file is broken or cut off"

_PROBE_PACKETS = 500


def probe(path: Path, container: str, limits: Limits) -> Probe:
    """What is in the file, decoding no more than its beginning; PermanentError where it may not be used."""
    with opened(path, container, limits) as source:
        video, audio = streams_of(source)
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
        raise PermanentError(NO_PICTURE)
    if found.video and picture:
        found = replace(found, video=replace(found.video, rotation=picture.rotation))
    if not sound:  # a track without a single frame is left out, it must not fail the rest
        found = replace(found, audio=None)
    policy.check_probe(found, limits)
    return found


@contextmanager
def opened(path: Path, container: str, limits: Limits) -> Iterator[InputContainer]:
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


def streams_of(source: InputContainer) -> tuple[VideoStream | None, AudioStream | None]:
    pictures = [s for s in source.streams.video if not s.disposition & Disposition.attached_pic]
    sounds = [s for s in source.streams.audio if s.codec_context is not None]
    return (pictures[0] if pictures else None), (sounds[0] if sounds else None)


def packets(source: InputContainer, *streams: Stream | None) -> Iterator[AnyPacket]:
    """Packets up to the end, or up to where the file breaks off."""
    try:
        yield from source.demux(*[stream for stream in streams if stream])
    except FFmpegError:
        return


def decoded(packet: AnyPacket) -> Iterator[Any]:
    try:
        yield from packet.decode()
    except FFmpegError:  # one broken place; decoders go on after it
        return


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
    for number, packet in enumerate(packets(source, video, audio)):
        for frame in decoded(packet):
            if isinstance(frame, VideoFrame):
                policy.check_picture(frame.width, frame.height, limits)
                picture = picture or frame
            else:
                sound = True
        done = (picture or not video) and (sound or not audio)
        if done or number >= _PROBE_PACKETS:
            break
    return picture, sound
