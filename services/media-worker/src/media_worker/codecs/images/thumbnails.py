"""A photo in several sizes."""

from collections.abc import Iterable
from pathlib import Path

from media_worker.codecs.images.picture import Picture
from media_worker.codecs.images.reading import Original, opened
from media_worker.domain.geometry import Scale
from media_worker.domain.photos import PhotoFacts
from media_worker.domain.policy import Limits


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
