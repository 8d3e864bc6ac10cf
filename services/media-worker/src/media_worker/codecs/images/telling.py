"""What a picture tells: where to look, and what it looks like from afar."""

from base64 import b64encode

import pyvips

from media_worker.codecs.images.picture import Picture
from media_worker.domain.crops import MIDDLE, Point
from media_worker.domain.geometry import fit
from media_worker.domain.thumbhash import thumbhash

_PLACEHOLDER_SIDE = 32
"""A ThumbHash knows waves of at most 7 a side; more pixels only cost time."""
_LEAST_SIDE = 16
_WINDOW = 2 / 3


def focal_point(picture: Picture) -> Point:
    """Where people look first, by edges, strong colours and skin; the middle where nothing stands out."""
    side = round(min(picture.width, picture.height) * _WINDOW)
    if side < _LEAST_SIDE:
        return MIDDLE
    image = picture.opaque().image()
    try:
        _, found = image.smartcrop(side, side, interesting="attention", attention_x=True, attention_y=True)
    except pyvips.Error:
        return MIDDLE
    x, y = found["attention_x"] / picture.width, found["attention_y"] / picture.height
    return Point(round(x, 3), round(y, 3))


def placeholder(picture: Picture) -> str:
    """Its ThumbHash in base64: some 25 bytes that an app shows as a blur until the picture is there."""
    small = picture.scaled(*fit(picture.width, picture.height, _PLACEHOLDER_SIDE))
    image = small.image()
    pixels = small.pixels if small.bands == 4 else bytes(image.bandjoin(255).write_to_memory())
    return b64encode(thumbhash(small.width, small.height, pixels)).decode()
