"""A photo in several sizes, as JPEG: one decode, each size scaled from the one before."""

from media_worker.codecs import images
from media_worker.domain.options import Options
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.rendition import Rendition, Work

_SECONDS_A_MEGAPIXEL = 0.01


class Photo(Rendition):
    """`image-1280`, `image-640`, `image-256`."""

    name = "photo"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step for all sizes, since they share the decode."""
        if facts.photo is None:
            return []
        return [
            Step(
                "photo", self.name, 0.05 + _SECONDS_A_MEGAPIXEL * facts.photo.width * facts.photo.height / 1e6
            )
        ]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The files `image-<side>.jpg`."""
        thumbnails = images.write_thumbnails(work.source, work.facts.format.name, work.folder, work.limits)
        return [
            Made(
                name=one.scale.name,
                kind="image",
                file_name=one.path.name,
                content_type="image/jpeg",
                width=one.scale.width,
                height=one.scale.height,
            )
            for one in thumbnails
        ]


RENDITION = Photo()
