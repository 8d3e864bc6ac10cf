"""A recording without a picture, as M4A."""

from media_worker.codecs import video
from media_worker.domain import costs
from media_worker.domain.options import Options
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.domain.recordings import recording_recipe
from media_worker.rendition import Rendition, Work


class Audio(Rendition):
    """`audio`."""

    name = "audio"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step."""
        if facts.recording is None or facts.recording.video is not None:
            return []
        return [Step("audio", self.name, costs.START_SECONDS + costs.sound_seconds(facts.duration_seconds))]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The file `audio.m4a`."""
        found = work.facts.recording
        assert found is not None
        target = work.folder / "audio.m4a"
        recipe = recording_recipe(found, work.options.recording)
        video.convert(video.Source(work.source, found, work.limits, work.folder), recipe, target, work.report)
        told = video.describe(target)
        return [
            Made(
                name="audio",
                kind="audio",
                file_name=target.name,
                content_type="audio/mp4",
                duration_seconds=told.duration_seconds,
                codecs=told.codecs,
            )
        ]


RENDITION = Audio()
