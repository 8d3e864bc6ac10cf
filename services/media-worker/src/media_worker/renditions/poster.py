"""A still picture that stands for a video: the sharpest of several."""

from base64 import b64encode

from media_worker.codecs import video
from media_worker.domain import costs
from media_worker.domain.options import Options
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.domain.recordings import POSTER_CANDIDATES, recording_recipe
from media_worker.domain.thumbhash import thumbhash
from media_worker.rendition import Rendition, Work


class Poster(Rendition):
    """`poster`."""

    name = "poster"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step, for video only."""
        if facts.recording is None or facts.recording.video is None:
            return []
        seconds = costs.picture_seconds(facts.recording.video, POSTER_CANDIDATES)
        return [Step("poster", self.name, costs.START_SECONDS + seconds)]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The file `poster.jpg`."""
        found = work.facts.recording
        assert found is not None
        picture = recording_recipe(found, work.options.recording).poster
        assert picture is not None
        target = work.folder / "poster.jpg"
        tiny = video.write_poster(video.Source(work.source, found, work.limits, work.folder), picture, target)
        return [
            Made(
                name="poster",
                kind="image",
                file_name=target.name,
                content_type="image/jpeg",
                width=picture.width,
                height=picture.height,
                detail={"thumbhash": b64encode(thumbhash(*tiny)).decode()},
            )
        ]


RENDITION = Poster()
