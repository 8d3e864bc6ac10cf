"""Small pictures of all of a video on one sheet, for a scrubber to show."""

from collections.abc import Iterator
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame

from kinstream.errors import PermanentError
from media_worker.codecs.video.packets import pictures, pictures_from, shown_at, streams_of
from media_worker.codecs.video.pictures import Pictures
from media_worker.codecs.video.reading import NO_PICTURE, Source
from media_worker.codecs.video.sheets import sheet
from media_worker.codecs.video.stills import JPEG_FORMAT, encoded
from media_worker.domain.recordings import PictureRecipe

_SHORT_SECONDS = 30.0


def write_sheet(
    given: Source, picture: PictureRecipe, times: list[float], columns: int, destination: Path
) -> list[float]:
    """A JPEG of small pictures, row by row; returns when each is shown, which may be fewer than asked for.

    Only pictures that can be decoded by themselves are, where the video has enough of them.
    """
    found, form = given.found, Pictures(picture, given.scratch, JPEG_FORMAT)
    with given.opened() as source:
        tiles = dict(_tiles(source, found.container, times, form))
    if len(tiles) * 2 < len(times) and (found.duration_seconds or 0) <= _SHORT_SECONDS:
        with given.opened() as source:
            tiles = dict(_every_picture(source, found.container, times, form))
    if not tiles:
        raise PermanentError(NO_PICTURE)
    shown = sorted(tiles)
    destination.write_bytes(encoded(sheet([tiles[at] for at in shown], columns)))
    return shown


def _tiles(
    source: InputContainer, container: str, times: list[float], form: Pictures
) -> Iterator[tuple[float, VideoFrame]]:
    video, _ = streams_of(source)
    assert video is not None
    video.codec_context.skip_frame = "NONKEY"
    last: float | None = None
    for wanted in times:
        frame = next(pictures_from(source, video, wanted), None)
        if frame is None:
            continue
        at = _seconds(frame, container, source)
        if last is None or at > last:
            last = at
            yield at, form.one(frame)


def _every_picture(
    source: InputContainer, container: str, times: list[float], form: Pictures
) -> Iterator[tuple[float, VideoFrame]]:
    video, _ = streams_of(source)
    assert video is not None
    waiting = list(times)
    for frame in pictures(source, video):
        at = _seconds(frame, container, source)
        if waiting and at >= waiting[0]:
            while waiting and at >= waiting[0]:
                waiting.pop(0)
            yield at, form.one(frame)
        if not waiting:
            return


def _seconds(frame: VideoFrame, container: str, source: InputContainer) -> float:
    at = shown_at(frame, container)
    if at is None or frame.time_base is None:
        return 0.0
    return max(0.0, float(at * frame.time_base) - (source.start_time or 0) / 1_000_000)
