"""A picture in a size, shape and format that an app asked for: of a photo, or of a video's poster."""

from typing import Any

from kinstream.errors import PermanentError
from media_worker.codecs import images
from media_worker.domain.crops import Point, box_around, laid_out
from media_worker.domain.options import Options
from media_worker.domain.photos import MOST_VARIANT_SIDE, SavedFormat
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.rendition import Rendition, Work
from media_worker.renditions import _saving


class Variant(Rendition):
    """One picture, called like its step. It is in no recipe: a step of it exists where somebody asked.

    The step's arguments: `width`, `height` (pixels, one may be missing), `fit` ("inside", "cover",
    "contain"), `format` ("jpeg", "webp", "avif", "png"), `quality` (1 to 100), `focal_point` ([x, y] as
    shares, as `Photo` tells it); each may be missing.
    """

    name = "variant"

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """None."""
        return []

    def make(self, step: Step, work: Work) -> list[Made]:
        """One file, made of a source that is a picture; never larger than that."""
        wanted = step.arguments
        original = images.opened(work.source, work.facts.format.name, work.limits)
        layout = laid_out(
            (original.width, original.height),
            (_side(wanted, "width"), _side(wanted, "height")),
            wanted.get("fit") or "inside",
            MOST_VARIANT_SIDE,
        )
        picture = original.read(*layout.scaled)
        if layout.cut != layout.scaled:
            known_point = wanted.get("focal_point")
            point = Point(*known_point) if known_point else images.focal_point(picture)
            picture = picture.cut(box_around(layout.scaled, layout.cut, point))
        if layout.canvas != layout.cut:
            picture = picture.on_canvas(*layout.canvas)
        form: SavedFormat = wanted.get("format") or "jpeg"
        return [_saving.save(picture, work.folder, step.name, form, quality=wanted.get("quality"))]


def _side(wanted: dict[str, Any], name: str) -> int | None:
    side = wanted.get(name)
    if side is not None and not 1 <= side <= MOST_VARIANT_SIDE:
        raise PermanentError(f"{name} is 1 to {MOST_VARIANT_SIDE:,} pixels")
    return int(side) if side else None


RENDITION = Variant()
