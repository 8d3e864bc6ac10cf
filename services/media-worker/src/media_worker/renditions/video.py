"""The MP4 that every player knows: copied where it is that already, encoded else."""

from media_worker.codecs import video
from media_worker.domain.options import Options
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.domain.recordings import recording_recipe
from media_worker.rendition import Rendition, Work

_SECONDS_A_MEGAPIXEL = 0.02
"""x264 veryfast with its decode, a megapixel of picture; 30 frames a second are assumed."""


class Video(Rendition):
    """`video`."""

    name = "video"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step."""
        found = facts.recording
        if found is None or found.video is None:
            return []
        recipe = recording_recipe(found)
        a_second = (
            0.005
            if recipe.video and recipe.video.copy
            else (_SECONDS_A_MEGAPIXEL * 30 * found.video.width * found.video.height / 1e6)
        )
        return [Step("video", self.name, 0.2 + a_second * facts.duration_seconds)]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The file `video.mp4`."""
        found = work.facts.recording
        assert found is not None
        recipe = recording_recipe(found)
        assert recipe.video is not None
        target = work.folder / "video.mp4"
        seconds = video.convert(work.source, found, recipe, target, limits=work.limits, progress=work.report)
        return [
            Made(
                name="video",
                kind="video",
                file_name=target.name,
                content_type="video/mp4",
                width=recipe.video.width,
                height=recipe.video.height,
                duration_seconds=seconds,
            )
        ]


RENDITION = Video()
