"""A photo in several sizes."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from media_worker.codecs.images.picture import Picture
from media_worker.codecs.images.reading import Original, opened
from media_worker.domain.geometry import Scale
from media_worker.domain.photos import QUALITIES, PhotoFacts, image_scales
from media_worker.domain.policy import Limits


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A rendition that has been written."""

    scale: Scale
    path: Path


def look(path: Path, format_name: str, limits: Limits) -> PhotoFacts:
    """What the photo's head tells; PermanentError for what cannot be decoded or is too large to try."""
    return opened(path, format_name, limits).facts


def cascade(original: Original, scales: Iterable[Scale]) -> list[Picture]:
    """The photo in each size, largest first: decoded once, then each made of the one before."""
    pictures: list[Picture] = []
    for scale in scales:
        size = scale.width, scale.height
        pictures.append(pictures[-1].scaled(*size) if pictures else original.read(*size))
    return pictures


def write_thumbnails(path: Path, format_name: str, folder: Path, limits: Limits) -> list[Thumbnail]:
    """The photo in each size as JPEG: right way up, in sRGB, without EXIF, place or profile.

    PermanentError for what cannot be decoded and for what is too large to try.
    """
    original = opened(path, format_name, limits)
    scales = image_scales(original.width, original.height)
    made = [Thumbnail(scale, folder / f"{scale.name}.jpg") for scale in scales]
    for one, picture in zip(made, cascade(original, scales), strict=True):
        picture.save(one.path, "jpeg", QUALITIES["jpeg"])
    return made
