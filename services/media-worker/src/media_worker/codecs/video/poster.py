"""A still picture that stands for a video."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from av.container import InputContainer
from av.video.frame import VideoFrame

from kinstream.errors import PermanentError
from media_worker.codecs.video.packets import pictures, pictures_from, streams_of
from media_worker.codecs.video.pictures import Pictures
from media_worker.codecs.video.reading import NO_PICTURE, Source
from media_worker.codecs.video.stills import JPEG_FORMAT, Tiny, encoded, jpeg, tiny
from media_worker.domain.geometry import even, fit
from media_worker.domain.recordings import POSTER_CANDIDATES, PictureRecipe

_SCORE_SIDE = 320


def write_poster(given: Source, picture: PictureRecipe, destination: Path) -> Tiny:
    """A JPEG of the sharpest of several pictures, which is returned in small too."""
    width, height = even(*fit(picture.width, picture.height, _SCORE_SIDE))
    # Colours do not make a picture sharp: what brings them down to usual screens is not done for these.
    small = replace(picture, width=width, height=height, tone_map=None)
    best: tuple[int, VideoFrame] | None = None
    with given.opened() as source:
        for frame in _candidates(source, given.found.duration_seconds):
            # At one quality, the picture with most detail makes the largest JPEG.
            score = len(jpeg(frame, small, given.scratch))
            if best is None or score > best[0]:
                best = score, frame
    chosen = best[1] if best else _first(given)
    shown = Pictures(picture, given.scratch, JPEG_FORMAT).one(chosen)
    destination.write_bytes(encoded(shown))
    return tiny(shown)


def _first(given: Source) -> VideoFrame:
    """For files in which no place can be searched."""
    with given.opened() as source:
        video, _ = streams_of(source)
        assert video is not None
        frame = next(pictures(source, video), None)
    if frame is None:
        raise PermanentError(NO_PICTURE)
    return frame


def _candidates(source: InputContainer, duration_seconds: float | None) -> Iterator[VideoFrame]:
    video, _ = streams_of(source)
    assert video is not None
    seen: set[int | None] = set()
    for number in range(POSTER_CANDIDATES):
        at_seconds = (duration_seconds or 0) * number / POSTER_CANDIDATES
        frame = next(pictures_from(source, video, at_seconds), None)
        if frame is not None and frame.pts not in seen:
            seen.add(frame.pts)
            yield frame
