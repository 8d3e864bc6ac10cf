"""A still picture that stands for a video: the sharpest of several."""

from media_worker.codecs import video
from media_worker.domain.options import Options
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.domain.recordings import recording_recipe
from media_worker.rendition import Rendition, Work


class Poster(Rendition):
    """`poster`."""

    name = "poster"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step, for video only."""
        if facts.recording is None or facts.recording.video is None:
            return []
        return [Step("poster", self.name, 0.5)]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The file `poster.jpg`."""
        found = work.facts.recording
        assert found is not None
        scale = recording_recipe(found).poster
        assert scale is not None
        target = work.folder / "poster.jpg"
        video.write_poster(work.source, found, scale, target, work.limits)
        return [Made(scale.name, "image", target.name, "image/jpeg", scale.width, scale.height)]


RENDITION = Poster()
