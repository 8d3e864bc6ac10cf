"""A recording without a picture, as M4A."""

from media_worker.codecs import video
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
        return [Step("audio", self.name, 0.2 + 0.01 * facts.duration_seconds)]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The file `audio.m4a`."""
        found = work.facts.recording
        assert found is not None
        target = work.folder / "audio.m4a"
        seconds = video.convert(
            work.source, found, recording_recipe(found), target, limits=work.limits, progress=work.report
        )
        return [Made("audio", "audio", target.name, "audio/mp4", duration_seconds=seconds)]


RENDITION = Audio()
