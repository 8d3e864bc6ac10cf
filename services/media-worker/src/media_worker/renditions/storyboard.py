"""Small pictures of all of a video on one sheet, and a WebVTT file that says which is when."""

from media_worker.codecs import video
from media_worker.domain import costs
from media_worker.domain.options import Options, RecordingOptions
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.domain.recordings import scaled
from media_worker.domain.scrubbing import storyboard_columns, storyboard_times, storyboard_vtt
from media_worker.rendition import Rendition, Work


class Storyboard(Rendition):
    """`storyboard` and `storyboard-sprite`."""

    name = "storyboard"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step, for video that is long enough to look for a place in."""
        if facts.recording is None or facts.recording.video is None:
            return []
        if facts.duration_seconds < options.recording.storyboard_from_seconds:
            return []
        seconds = costs.picture_seconds(facts.recording.video, len(_times(facts, options.recording)))
        return [Step("storyboard", self.name, costs.START_SECONDS + seconds, essential=False)]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The files `storyboard.vtt` and `storyboard.jpg`."""
        found, options = work.facts.recording, work.options.recording
        assert found is not None
        assert found.video is not None
        picture = scaled(found.video, options.storyboard_side)
        sprite, board = work.folder / "storyboard.jpg", work.folder / "storyboard.vtt"
        times = _times(work.facts, options)
        columns = storyboard_columns(len(times))
        source = video.Source(work.source, found, work.limits, work.folder)
        shown = video.write_sheet(source, picture, times, columns, sprite)
        end_seconds = work.facts.duration_seconds
        board.write_text(storyboard_vtt(sprite.name, shown, end_seconds, picture, columns))
        across, down = min(columns, len(shown)), -(-len(shown) // columns)
        return [
            Made("storyboard", "storyboard", board.name, "text/vtt", picture.width, picture.height),
            Made(
                name="storyboard-sprite",
                kind="storyboard-sprite",
                file_name=sprite.name,
                content_type="image/jpeg",
                width=picture.width * across,
                height=picture.height * down,
            ),
        ]


def _times(facts: Facts, options: RecordingOptions) -> list[float]:
    return storyboard_times(facts.duration_seconds, options.storyboard_tiles)


RENDITION = Storyboard()
