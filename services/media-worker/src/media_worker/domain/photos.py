"""What is made of a photo: pure decisions, carried out by the codecs."""

from dataclasses import dataclass, replace
from typing import Literal

from media_worker.domain.geometry import Scale, fit
from media_worker.domain.policy import Limits, check_image

IMAGE_SIZES = (1280, 640, 256)
"""Longest sides of a photo's renditions in pixels, largest first: each is scaled from the one before."""
SQUARE_SIDE = 512
MOST_VARIANT_SIDE = 4_096
"""Longest side of a picture that is made on demand, in pixels."""

SavedFormat = Literal["jpeg", "webp", "avif", "png"]
QUALITIES: dict[SavedFormat, int] = {"jpeg": 80, "webp": 80, "avif": 65, "png": 100}
"""As each encoder takes it: about the same PSNR."""

_MOST_WHOLE_PIXELS = {"AVIF": 40_000_000, "HEIF": 50_000_000}
"""Their decoders hold the picture whole, with up to 20 bytes a pixel: within 1 GB of memory so many."""
_LEAST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class PhotoFacts:
    """What a photo's head tells. Width and height are as it is shown, right way up."""

    width: int
    height: int


def check_size(width: int, height: int, format_name: str, limits: Limits) -> None:
    """PermanentError for a photo with too many pixels to decode it."""
    most = min(limits.image_pixels, _MOST_WHOLE_PIXELS.get(format_name, limits.image_pixels))
    check_image(width, height, replace(limits, image_pixels=most))


def image_scales(width: int, height: int) -> list[Scale]:
    """The renditions of a photo of this size (as shown), largest first. None is larger than the photo."""
    return [Scale(f"image-{side}", *fit(width, height, side)) for side in IMAGE_SIZES]


def is_enough_of_it(rows: int, of_rows: int) -> bool:
    """Whether the rows that a file which is cut off still has are worth showing: most of the picture."""
    return rows >= _LEAST_SHARE * of_rows
