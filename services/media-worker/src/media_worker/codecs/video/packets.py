"""Packets and frames of a recording, past broken places."""

from collections.abc import Iterator
from typing import Any, TypeAlias

from av.audio.stream import AudioStream
from av.container import InputContainer
from av.error import FFmpegError
from av.packet import Packet
from av.stream import Disposition, Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

AnyPacket: TypeAlias = "Packet[Any]"

_REORDERED_SECONDS = 0.15


def streams_of(source: InputContainer) -> tuple[VideoStream | None, AudioStream | None]:
    """The first picture stream that is no cover, and the first sound stream, of those that can be decoded."""
    pictures = [
        s
        for s in source.streams.video
        if s.codec_context is not None and not s.disposition & Disposition.attached_pic
    ]
    sounds = [s for s in source.streams.audio if s.codec_context is not None]
    return (pictures[0] if pictures else None), (sounds[0] if sounds else None)


def packets(source: InputContainer, *streams: Stream | None) -> Iterator[AnyPacket]:
    """Packets up to the end, or up to where the file breaks off; last, an empty one a stream."""
    wanted = [stream for stream in streams if stream]
    try:
        while True:
            try:
                yield from source.demux(*wanted)
            except IndexError:  # a packet of a stream that was not there when the file was opened
                continue
            return
    except FFmpegError:
        for stream in filter(None, streams):
            # What a decoder has not shown yet comes out with the empty packet.
            end: AnyPacket = Packet()
            end.stream = stream
            yield end


def decoded(packet: AnyPacket) -> Iterator[Any]:
    """Frames of a packet; none where it is broken, since decoders go on after it."""
    try:
        yield from packet.decode()
    except FFmpegError:
        return


def pictures(source: InputContainer, video: VideoStream) -> Iterator[VideoFrame]:
    """All pictures from where the container stands."""
    for packet in packets(source, video):
        yield from decoded(packet)


def pictures_from(source: InputContainer, video: VideoStream, at_seconds: float) -> Iterator[VideoFrame]:
    """Pictures from the last one before this time that can be decoded by itself; none where that fails."""
    start_seconds = (source.start_time or 0) / 1_000_000
    # Some containers are searched by decoding time, which is a few pictures before.
    wanted_seconds = start_seconds + at_seconds - _REORDERED_SECONDS
    try:
        source.seek(round(wanted_seconds / (video.time_base or 1)), stream=video)
    except FFmpegError:
        return
    yield from pictures(source, video)


def shown_at(frame: VideoFrame, container: str) -> int | None:
    """When a picture is shown, in its time base."""
    # AVI has decoding times only; in the order of the pictures that come out they are right.
    if container == "avi" or frame.pts is None:
        at: int | None = frame.dts
        return at
    pts: int = frame.pts
    return pts
