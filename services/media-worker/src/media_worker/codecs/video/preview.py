"""A few seconds of a video without sound, to be shown where a pointer rests on it."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinstream.errors import PermanentError
from media_worker.codecs.video.convert import FASTSTART
from media_worker.codecs.video.packets import pictures, pictures_from, shown_at, streams_of
from media_worker.codecs.video.pictures import Pictures
from media_worker.codecs.video.reading import NO_PICTURE, Source, threads
from media_worker.domain.recordings import PictureRecipe

_TICK = Fraction(1, 1_000)
_MOST_SKIPPED = 600
"""Pictures that are decoded only to reach a place. Past it, the piece starts where decoding has come to."""


def write_preview(
    given: Source,
    picture: PictureRecipe,
    places: list[tuple[float, float]],
    frames_a_second: int,
    destination: Path,
) -> None:
    """An MP4 of pieces of the video one after another; `places` are their starts and lengths in seconds."""
    with (
        given.opened() as source,
        av.open(str(destination), "w", format="mp4", options=dict(FASTSTART)) as target,
    ):
        writer = _Writer(target, picture, frames_a_second, given.scratch)
        for at_ms, frame in _pieces(source, given.found.container, places, frames_a_second):
            writer.add(at_ms, frame)
        if not writer.pictures:  # no place in the file can be searched: from the start, then
            whole_seconds = sum(length for _, length in places)
            with given.opened() as again:
                for at_ms, frame in _pieces(
                    again, given.found.container, [(None, whole_seconds)], frames_a_second
                ):
                    writer.add(at_ms, frame)
        writer.close()


class _Writer:
    """Encodes the pictures of a preview."""

    def __init__(
        self, target: OutputContainer, picture: PictureRecipe, frames_a_second: int, scratch: Path
    ) -> None:
        out = target.add_stream("libx264", rate=frames_a_second, options={"crf": "28", "preset": "veryfast"})
        assert isinstance(out, VideoStream)
        context = out.codec_context
        context.width, context.height, context.pix_fmt = picture.width, picture.height, "yuv420p"
        context.time_base = _TICK
        context.thread_count = threads()
        context.colorspace = picture.colors.matrix
        context.color_primaries, context.color_trc = picture.colors.primaries, picture.colors.transfer
        self._target, self._out, self._form = target, out, Pictures(picture, scratch)
        self._duration_ms = 1_000 // frames_a_second
        self.pictures = 0

    def add(self, at_ms: int, frame: VideoFrame) -> None:
        shown = self._form.one(frame)
        shown.pts, shown.time_base, shown.pict_type = at_ms, _TICK, 0
        shown.duration = self._duration_ms
        self._target.mux(self._out.encode(shown))
        self.pictures += 1

    def close(self) -> None:
        if not self.pictures:
            raise PermanentError(NO_PICTURE)
        self._target.mux(self._out.encode(None))


def _pieces(
    source: InputContainer,
    container: str,
    places: Sequence[tuple[float | None, float]],
    frames_a_second: int,
) -> Iterator[tuple[int, VideoFrame]]:
    """Pictures, no more than so many a second, with their time in the preview. None is where it stands."""
    video, _ = streams_of(source)
    assert video is not None
    step_seconds = 1 / frames_a_second
    start_seconds = (source.start_time or 0) / av.time_base
    before_seconds, reached_seconds = 0.0, -1.0
    for place_seconds, length_seconds in places:
        begin: float | None = None
        due_seconds = 0.0
        found = (
            pictures(source, video) if place_seconds is None else pictures_from(source, video, place_seconds)
        )
        for number, frame in enumerate(found):
            at = shown_at(frame, container)
            seconds = float((at or 0) * (frame.time_base or 0)) - start_seconds
            early = seconds < (place_seconds or 0.0) and number < _MOST_SKIPPED
            if begin is None and (early or seconds <= reached_seconds):
                continue
            begin = seconds if begin is None else begin
            if seconds - begin >= length_seconds:
                break
            reached_seconds = seconds
            if seconds - begin >= due_seconds - step_seconds / 4:
                due_seconds = seconds - begin + step_seconds
                yield round((before_seconds + seconds - begin) * 1_000), frame
        before_seconds += length_seconds
