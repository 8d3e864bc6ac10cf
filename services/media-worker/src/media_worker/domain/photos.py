"""What is made of a photo: pure decisions, carried out by the codecs."""

from dataclasses import dataclass

from media_worker.domain.geometry import Scale, fit

IMAGE_SIZES = (1280, 640, 256)
"""Longest sides of a photo's renditions in pixels, largest first: each is scaled from the one before."""


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What a photo's head tells. Width and height are as it is shown, right way up."""

    width: int
    height: int


def image_scales(width: int, height: int) -> list[Scale]:
    """The renditions of a photo of this size (as shown), largest first. None is larger than the photo."""
    return [Scale(f"image-{side}", *fit(width, height, side)) for side in IMAGE_SIZES]
