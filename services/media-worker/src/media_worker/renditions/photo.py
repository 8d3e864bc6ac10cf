"""A photo in several sizes, and a square of what matters in it, all from one decode."""

from media_worker.codecs import images
from media_worker.domain.crops import Point, square_around
from media_worker.domain.geometry import fit
from media_worker.domain.options import Options
from media_worker.domain.photos import SQUARE_SIDE, image_scales
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.rendition import Rendition, Work
from media_worker.renditions import _saving

_SECONDS, _SECONDS_A_MEGAPIXEL = 0.15, 0.005


class Photo(Rendition):
    """`image-1280`, `image-640`, `image-256` as JPEG and beside it as WebP or AVIF, and `square`.

    Each JPEG's detail has the photo's `thumbhash` and `focal_point`.
    """

    name = "photo"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """One step for all, since they share the decode."""
        if facts.photo is None:
            return []
        megapixels = facts.photo.width * facts.photo.height / 1e6
        return [Step("photo", self.name, _SECONDS + _SECONDS_A_MEGAPIXEL * megapixels)]

    def make(self, step: Step, work: Work) -> list[Made]:
        """The files `image-<side>.jpg`, `image-<side>-webp.webp`, `square.jpg`."""
        also_as = work.options.photo.also_as
        original = images.opened(work.source, work.facts.format.name, work.limits)
        scales = image_scales(original.width, original.height)
        pictures = images.cascade(original, scales)
        largest, detail = pictures[0], images.told(pictures[-1])
        made: list[Made] = []
        for scale, picture in zip(scales, pictures, strict=True):
            made.append(_saving.save(picture, work.folder, scale.name, "jpeg", detail=detail))
            if also_as != "none":
                made.append(_saving.save(picture, work.folder, f"{scale.name}-{also_as}", also_as))
        square = largest.cut(square_around(largest.width, largest.height, Point(*detail["focal_point"])))
        square = square.scaled(*fit(square.width, square.height, SQUARE_SIDE))
        made.append(_saving.save(square, work.folder, "square", "jpeg"))
        return made


RENDITION = Photo()
