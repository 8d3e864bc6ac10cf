"""A stream in several sizes for long or large video: HLS with one MP4 of byte ranges a size, sound apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from media_worker.codecs import video
from media_worker.domain import costs
from media_worker.domain.ladder import (
    PLAYLIST_TYPE,
    SOUND_NAME,
    Rung,
    bandwidths,
    master_playlist,
    media_playlist,
    rungs,
    wants_ladder,
)
from media_worker.domain.options import Options
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.domain.recordings import (
    PictureRecipe,
    Recipe,
    VideoRecipe,
    h264_recipe,
    recording_recipe,
    rung_picture,
)
from media_worker.rendition import Rendition, Work


class Hls(Rendition):
    """`hls`, and for each size `hls-<shorter side>` with `hls-<shorter side>-media`; `hls-audio` likewise."""

    name = "hls"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """A step a size, and one for the sound."""
        found = facts.recording
        if not wants_ladder(facts, options.recording):
            return []
        assert found is not None
        assert found.video is not None
        steps = []
        pictures = costs.frames(found.video, facts.duration_seconds)
        for rung in rungs(found.video, options.recording):
            size = rung_picture(found.video, rung.shorter_side)
            seconds = costs.START_SECONDS + costs.decode_seconds(found.video, pictures)
            seconds += costs.encode_seconds(found.video, pictures, size.width, size.height)
            arguments = {"shorter_side": rung.shorter_side, "most_bits_a_second": rung.most_bits_a_second}
            steps.append(Step(rung.name, self.name, seconds, essential=False, arguments=arguments))
        if found.audio:
            seconds = costs.START_SECONDS + costs.sound_seconds(facts.duration_seconds)
            steps.append(Step(SOUND_NAME, self.name, seconds, essential=False))
        return steps

    def make(self, step: Step, work: Work) -> list[Made]:
        """The files `<step>.mp4` and `<step>.m3u8`."""
        return _sound(work) if step.name == SOUND_NAME else _pictures(Rung(step.name, **step.arguments), work)

    def assemble(self, made: Sequence[Made]) -> list[tuple[Made, bytes]]:
        """`hls.m3u8`, where sizes were made."""
        text = master_playlist(made)
        if text is None:
            return []
        sizes = [one for one in made if one.kind == "hls-playlist" and one.name != SOUND_NAME]
        largest = max(sizes, key=lambda one: (one.width or 0) * (one.height or 0))
        master = Made(
            name="hls",
            kind="hls",
            file_name="hls.m3u8",
            content_type=PLAYLIST_TYPE,
            width=largest.width,
            height=largest.height,
            duration_seconds=largest.duration_seconds,
            detail={"sizes": len(sizes)},
        )
        return [(master, text.encode())]


def _pictures(rung: Rung, work: Work) -> list[Made]:
    found, options = work.facts.recording, work.options.recording
    assert found is not None
    assert found.video is not None
    picture = rung_picture(found.video, rung.shorter_side)
    target = work.folder / f"{rung.name}.mp4"
    recipe = Recipe(VideoRecipe(copy=False, picture=picture), None, None)
    h264 = h264_recipe(options, rung.most_bits_a_second, options.hls_segment_seconds)
    video.write_segments(
        video.Source(work.source, found, work.limits, work.folder), recipe, h264, target, work.report
    )
    told = video.describe(target)
    more = {"has_sound": found.audio is not None, "frame_rate": round(told.frame_rate, 3)}
    return _with_playlist(rung.name, target, told.codecs, more, picture)


def _sound(work: Work) -> list[Made]:
    found, options = work.facts.recording, work.options.recording
    assert found is not None
    target = work.folder / f"{SOUND_NAME}.mp4"
    sound = recording_recipe(found, options).audio
    assert sound is not None
    # AAC of a transport stream tells in every packet what it is, too late for the head of such a file.
    sound = replace(sound, copy=sound.copy and found.container in ("mov", "matroska"))
    recipe = Recipe(None, sound, None)
    h264 = h264_recipe(options, None, options.hls_segment_seconds)
    video.write_segments(
        video.Source(work.source, found, work.limits, work.folder), recipe, h264, target, work.report
    )
    told = video.describe(target)
    return _with_playlist(SOUND_NAME, target, told.codecs, {"channels": told.channels})


def _with_playlist(
    name: str,
    media: Path,
    codecs: str | None,
    more: Mapping[str, object],
    picture: PictureRecipe | None = None,
) -> list[Made]:
    head_bytes, segments = video.read_segments(media)
    playlist = media.with_suffix(".m3u8")
    playlist.write_text(media_playlist(media.name, head_bytes, segments))
    peak, average = bandwidths(segments)
    detail = {"bandwidth": peak, "average_bandwidth": average, **more}
    seconds = sum(segment.duration_seconds for segment in segments)
    width, height = (picture.width, picture.height) if picture else (None, None)
    return [
        Made(name, "hls-playlist", playlist.name, PLAYLIST_TYPE, width, height, seconds, codecs, detail),
        Made(f"{name}-media", "hls-media", media.name, "video/mp4", width, height, seconds, codecs),
    ]


RENDITION = Hls()
