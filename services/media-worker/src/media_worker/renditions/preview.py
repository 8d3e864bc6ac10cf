"""A few seconds of a video without sound, from several places."""

from media_worker.codecs import video
from media_worker.domain import costs
from media_worker.domain.options import Options, RecordingOptions
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.domain.recordings import scaled
from media_worker.domain.scrubbing import preview_places
from media_worker.rendition import Rendition, Work

_PICTURES_TO_A_PLACE = 60
"""About so many have to be decoded to reach a place from the one before that can be decoded by itself."""


class Preview(Rendition):
    """`preview`."""

    name = "preview"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step, for video only."""
        if facts.recording is None or facts.recording.video is None:
            return []
        found, chosen = facts.recording.video, options.recording
        places = _places(facts, chosen)
        picture = scaled(found, chosen.preview_side)
        decoded = min(
            costs.frames(found, facts.duration_seconds),
            costs.frames(found, chosen.preview_seconds) + _PICTURES_TO_A_PLACE * len(places),
        )
        encoded = chosen.preview_seconds * chosen.preview_frames_a_second
        seconds = costs.decode_seconds(found, decoded)
        seconds += costs.encode_seconds(found, encoded, picture.width, picture.height)
        return [Step("preview", self.name, costs.START_SECONDS + seconds, essential=False)]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The file `preview.mp4`."""
        found, options = work.facts.recording, work.options.recording
        assert found is not None
        assert found.video is not None
        picture = scaled(found.video, options.preview_side)
        target = work.folder / "preview.mp4"
        source = video.Source(work.source, found, work.limits, work.folder)
        places = _places(work.facts, options)
        video.write_preview(source, picture, places, options.preview_frames_a_second, target)
        told = video.describe(target)
        return [
            Made(
                name="preview",
                kind="video",
                file_name=target.name,
                content_type="video/mp4",
                width=picture.width,
                height=picture.height,
                duration_seconds=told.duration_seconds,
                codecs=told.codecs,
            )
        ]


def _places(facts: Facts, options: RecordingOptions) -> list[tuple[float, float]]:
    return preview_places(facts.duration_seconds, options.preview_seconds, options.preview_places)


RENDITION = Preview()
