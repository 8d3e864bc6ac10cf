"""A still picture that stands for a video."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.error import FFmpegError
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange, Colorspace
from av.video.stream import VideoStream

from kinstream.errors import PermanentError
from media_worker.codecs.video.reading import NO_PICTURE, decoded, opened, packets, streams_of
from media_worker.codecs.video.turner import Turner
from media_worker.domain.geometry import Scale, clockwise_turn, fit
from media_worker.domain.policy import Limits, Probe
from media_worker.domain.recordings import POSTER_CANDIDATES

_SCORE_SIDE = 320


def write_poster(path: Path, found: Probe, scale: Scale, destination: Path, limits: Limits) -> None:
    """A JPEG of the sharpest of several pictures, right way up, with square pixels."""
    assert found.video is not None
    turn = clockwise_turn(found.video.rotation)
    best: tuple[int, VideoFrame] | None = None
    with opened(path, found.container, limits) as source:
        for frame in _candidates(source, found.duration_seconds):
            # At one quality, the picture with most detail makes the largest JPEG.
            score = len(_jpeg(frame, *_even(*fit(scale.width, scale.height, _SCORE_SIDE)), turn))
            if best is None or score > best[0]:
                best = score, frame
    if best is None:
        raise PermanentError(NO_PICTURE)
    destination.write_bytes(_jpeg(best[1], scale.width, scale.height, turn))


def _candidates(source: InputContainer, duration_seconds: float | None) -> Iterator[VideoFrame]:
    video, _ = streams_of(source)
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
    for packet in packets(source, video):
        yield from decoded(packet)


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
    shown = Turner(turn_degrees).turn(flat)
    shown.pts, shown.pict_type = 0, 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(shown), *encoder.encode(None)])


def _even(width: int, height: int) -> tuple[int, int]:
    return max(2, width - width % 2), max(2, height - height % 2)
