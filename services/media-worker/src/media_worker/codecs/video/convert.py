"""A recording as MP4 or M4A."""

from collections.abc import Callable
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from kinstream.errors import PermanentError
from media_worker.codecs.video.reading import NO_PICTURE, opened, packets, streams_of
from media_worker.codecs.video.tracks import Copied, EncodedAudio, EncodedVideo
from media_worker.domain import policy
from media_worker.domain.policy import Limits, Probe
from media_worker.domain.recordings import AudioRecipe, Recipe, VideoRecipe

Progress = Callable[[float], None]


def convert(
    path: Path, found: Probe, recipe: Recipe, destination: Path, *, limits: Limits, progress: Progress
) -> float:
    """Write the MP4 (or M4A) and return its duration in seconds. Nothing of the source's metadata goes along.

    `progress` hears a fraction from 0 to 1 now and then.
    """
    flavour = "mp4" if recipe.video else "ipod"
    options = {"movflags": "+faststart", "fflags": "+bitexact"}
    with (
        opened(path, found.container, limits) as source,
        av.open(str(destination), "w", format=flavour, options=options) as target,
    ):
        video, audio = streams_of(source)
        tracks: dict[int, Copied | EncodedVideo | EncodedAudio] = {}
        if video and recipe.video:
            tracks[video.index] = video_track(target, video, recipe.video, limits)
        if audio and recipe.audio:
            tracks[audio.index] = audio_track(target, audio, recipe.audio)
        for packet in packets(source, video if recipe.video else None, audio if recipe.audio else None):
            if packet.pts is not None and packet.time_base is not None:
                at_seconds = float(packet.pts * packet.time_base)
                policy.check_duration(at_seconds, limits)
                progress(min(1.0, at_seconds / (found.duration_seconds or limits.video_duration_seconds)))
            target.mux(tracks[packet.stream.index].feed(packet))
        for track in tracks.values():
            target.mux(track.flush())
        if not all(track.units for track in tracks.values() if not isinstance(track, EncodedAudio)):
            raise PermanentError(NO_PICTURE)
    with av.open(str(destination), format="mov") as made:
        return made.duration / av.time_base if made.duration else 0.0


def video_track(
    target: OutputContainer, source: VideoStream, recipe: VideoRecipe, limits: Limits
) -> Copied | EncodedVideo:
    return Copied(target, source) if recipe.copy else EncodedVideo(target, source, recipe, limits)


def audio_track(target: OutputContainer, source: AudioStream, recipe: AudioRecipe) -> Copied | EncodedAudio:
    return Copied(target, source) if recipe.copy else EncodedAudio(target, source, recipe)
