"""The MP4 that every player knows: copied where it is that already, encoded else."""

from media_worker.codecs import video
from media_worker.domain import costs
from media_worker.domain.options import Options
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.domain.recordings import h264_recipe, recording_recipe
from media_worker.rendition import Rendition, Work


class Video(Rendition):
    """`video`."""

    name = "video"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step."""
        found = facts.recording
        if found is None or found.video is None:
            return []
        recipe = recording_recipe(found, options.recording)
        assert recipe.video is not None
        seconds = costs.START_SECONDS
        if recipe.video.copy:
            seconds += costs.copy_seconds(facts.size_bytes)
        else:
            pictures = costs.frames(found.video, facts.duration_seconds)
            seconds += costs.decode_seconds(found.video, pictures)
            seconds += costs.encode_seconds(found.video, pictures, recipe.video.width, recipe.video.height)
        if recipe.audio and not recipe.audio.copy:
            seconds += costs.sound_seconds(facts.duration_seconds)
        return [Step("video", self.name, seconds)]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The file `video.mp4`."""
        found, options = work.facts.recording, work.options.recording
        assert found is not None
        recipe = recording_recipe(found, options)
        assert recipe.video is not None
        target = work.folder / "video.mp4"
        source = video.Source(work.source, found, work.limits, work.folder)
        video.convert(source, recipe, target, work.report, h264_recipe(options))
        told = video.describe(target)
        return [
            Made(
                name="video",
                kind="video",
                file_name=target.name,
                content_type="video/mp4",
                width=recipe.video.width,
                height=recipe.video.height,
                duration_seconds=told.duration_seconds,
                codecs=told.codecs,
            )
        ]


RENDITION = Video()
