"""A recording as MP4 or M4A."""

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer
from av.error import ArgumentError, FFmpegError, InvalidDataError

from kinstream.errors import PermanentError
from media_worker.codecs.video.copying import Copied
from media_worker.codecs.video.packets import packets, streams_of
from media_worker.codecs.video.reading import NO_PICTURE, Source
from media_worker.codecs.video.timeline import Timeline
from media_worker.codecs.video.tracks import EncodedAudio, EncodedVideo, Track
from media_worker.domain import policy
from media_worker.domain.recordings import H264Recipe, Recipe, index_room_bytes

Progress = Callable[[float], None]

_PROGRESS_SECONDS = 0.5
_OF_THE_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM)
_TOO_BROKEN = "the recording is too broken to be converted"
_NO_SOUND = "no sound of the recording can be decoded: the file is broken or cut off"
# Nothing of the source's metadata is passed on, and nothing says what made the file.
_PLAIN = {"fflags": "+bitexact"}
FASTSTART = _PLAIN | {"movflags": "+faststart"}


def convert(
    given: Source, recipe: Recipe, destination: Path, progress: Progress, h264: H264Recipe | None = None
) -> None:
    """Write the MP4 (or M4A), its index first. `progress` hears a fraction from 0 to 1 now and then."""
    form = _Form("mp4" if recipe.video else "ipod", FASTSTART, h264 or H264Recipe())
    room_bytes = index_room_bytes(given.found, recipe, given.path.stat().st_size)
    with _in_plain_words():
        if room_bytes:
            at_once = replace(form, options=_PLAIN | {"moov_size": str(room_bytes)})
            with suppress(ArgumentError):  # the index is larger than the recording's head made believe
                _write(given, recipe, at_once, destination, progress)
                return
        _write(given, recipe, form, destination, progress)


def write_segments(
    given: Source, recipe: Recipe, h264: H264Recipe, destination: Path, progress: Progress
) -> None:
    """Write an MP4 in pieces that can be played each by itself, for a recipe of one stream."""
    assert h264.segment_seconds is not None
    microseconds = round(h264.segment_seconds * 1_000_000)
    options = _PLAIN | (
        {"movflags": "+frag_keyframe+delay_moov+default_base_moof"}
        if recipe.video
        else {"movflags": "+delay_moov+default_base_moof", "frag_duration": str(microseconds)}
    )
    with _in_plain_words():
        _write(given, recipe, _Form("mp4", options, h264), destination, progress)


@dataclass(frozen=True, slots=True)
class _Form:
    """What kind of file is written."""

    name: str
    options: dict[str, str]
    h264: H264Recipe


def _write(given: Source, recipe: Recipe, form: _Form, destination: Path, progress: Progress) -> None:
    found, limits = given.found, given.limits
    with (
        given.opened() as source,
        av.open(str(destination), "w", format=form.name, options=form.options) as target,
    ):
        tracks = _tracks(source, target, given, recipe, form.h264)
        streams = [source.streams[index] for index in tracks]
        timeline = Timeline(found.container, (source.start_time or 0) / av.time_base, streams)
        whole_seconds = found.duration_seconds or limits.video_duration_seconds
        next_seconds = _PROGRESS_SECONDS
        for packet in packets(source, *streams):
            index = packet.stream.index
            at_seconds = timeline.place(packet, index)
            if at_seconds is not None and at_seconds > next_seconds:
                next_seconds = at_seconds + _PROGRESS_SECONDS
                policy.check_duration(at_seconds, limits)
                progress(max(0.0, min(1.0, at_seconds / whole_seconds)))
            try:
                for made in tracks[index].feed(packet):
                    target.mux_one(made)
            except InvalidDataError:
                # A copied packet that does not fit the file is as broken as one that cannot be decoded.
                continue
        for track in tracks.values():
            target.mux(track.flush())
        _check(tracks.values(), recipe)


@contextmanager
def _in_plain_words() -> Iterator[None]:
    try:
        yield
    except FFmpegError as error:  # past what its parts know to go around
        if error.errno in _OF_THE_MACHINE:
            raise
        raise PermanentError(_TOO_BROKEN) from error


def _tracks(
    source: InputContainer, target: OutputContainer, given: Source, recipe: Recipe, h264: H264Recipe
) -> dict[int, Track]:
    video, audio = streams_of(source)
    tracks: dict[int, Track] = {}
    if video and recipe.video:
        tracks[video.index] = (
            Copied(target, video, given.found.container)
            if recipe.video.copy
            else EncodedVideo(target, video, given, recipe.video.picture, h264)
        )
    if audio and recipe.audio:
        tracks[audio.index] = (
            Copied(target, audio, given.found.container)
            if recipe.audio.copy
            else EncodedAudio(target, audio, recipe.audio, given.limits)
        )
    return tracks


def _check(tracks: Iterable[Track], recipe: Recipe) -> None:
    for track in tracks:
        is_sound_beside_pictures = isinstance(track, EncodedAudio) and recipe.video is not None
        if not track.units and not is_sound_beside_pictures:
            raise PermanentError(NO_PICTURE if recipe.video else _NO_SOUND)
