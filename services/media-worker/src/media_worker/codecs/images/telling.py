"""What a picture tells: where to look, and what it looks like from afar."""

from base64 import b64encode
from typing import Any

from media_worker.codecs.images.picture import Picture
from media_worker.domain.crops import MIDDLE, Point
from media_worker.domain.geometry import fit
from media_worker.domain.thumbhash import thumbhash

_PLACEHOLDER_SIDE = 32
"""A ThumbHash knows waves of at most 7 a side; more pixels only cost time."""
_LEAST_SIDE = 24
_MARGIN = 0.1
"""Few take a picture of what is at its edge, where bright lights and cut-off roofs draw the eye."""
_WINDOW = 0.5


def focal_point(picture: Picture) -> Point:
    """Where people look first, by edges, strong colours and skin; the middle where there are few pixels."""
    width, height = picture.width, picture.height
    if min(width, height) < _LEAST_SIDE:
        return MIDDLE
    left, top = round(width * _MARGIN), round(height * _MARGIN)
    inner = picture.opaque().image().crop(left, top, width - 2 * left, height - 2 * top)
    side = round(min(width, height) * _WINDOW)
    _, found = inner.smartcrop(side, side, interesting="attention", attention_x=True, attention_y=True)
    x, y = (left + found["attention_x"]) / width, (top + found["attention_y"]) / height
    return Point(round(x, 3), round(y, 3))


def told(picture: Picture) -> dict[str, Any]:
    """Both, as a rendition's detail has them; a small picture tells as much as a large one."""
    point = focal_point(picture)
    return {"thumbhash": placeholder(picture), "focal_point": [point.x, point.y]}


def placeholder(picture: Picture) -> str:
    """Its ThumbHash in base64: some 25 bytes that an app shows as a blur until the picture is there."""
    small = picture.scaled(*fit(picture.width, picture.height, _PLACEHOLDER_SIDE))
    image = small.image()
    pixels = small.pixels if small.bands == 4 else bytes(image.bandjoin(255).write_to_memory())
    return b64encode(thumbhash(small.width, small.height, pixels)).decode()
