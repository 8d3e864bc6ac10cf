"""Where a picture is cut, so that what matters stays in it. Pure."""

from dataclasses import dataclass
from typing import Literal

Fit = Literal["inside", "cover", "contain"]
"""`inside`: whole, within the box. `cover`: fills it, cut. `contain`: whole, with margins that fill it."""


@dataclass(frozen=True, slots=True)
class Point:
    """A place in a picture, as shares of its width and height from the upper left corner."""

    x: float
    y: float


MIDDLE = Point(0.5, 0.5)


@dataclass(frozen=True, slots=True)
class Box:
    """A part of a picture, in pixels."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How a picture comes into a box: scaled, then cut, then put on a canvas. Sizes in pixels."""

    scaled: tuple[int, int]
    cut: tuple[int, int]
    canvas: tuple[int, int]


def box_around(size: tuple[int, int], wanted: tuple[int, int], point: Point) -> Box:
    """A box of the wanted size with the point as near to its middle as the picture's edges let it be."""
    (width, height), (box_width, box_height) = size, wanted
    left = min(max(0, round(point.x * width - box_width / 2)), width - box_width)
    top = min(max(0, round(point.y * height - box_height / 2)), height - box_height)
    return Box(left, top, box_width, box_height)


def square_around(width: int, height: int, point: Point) -> Box:
    """The largest square, as near to the point as it gets."""
    side = min(width, height)
    return box_around((width, height), (side, side), point)


def laid_out(
    size: tuple[int, int], wanted: tuple[int | None, int | None], how: Fit, most_side: int
) -> Layout:
    """A picture in a box of which a side may be open; never larger than it is, only `contain` adds margins.

    A box to be covered that is larger than the picture shrinks and keeps its shape.
    """
    width, height = size
    box_width, box_height = (min(side or most_side, most_side) for side in wanted)
    if None in wanted or how != "cover":
        whole = _inside(size, (box_width, box_height))
        is_filled = how == "contain" and None not in wanted
        return Layout(whole, whole, (box_width, box_height) if is_filled else whole)
    share = min(1.0, width / box_width, height / box_height)
    cut = max(1, round(box_width * share)), max(1, round(box_height * share))
    scale = max(cut[0] / width, cut[1] / height)
    scaled = (
        min(width, max(cut[0], round(width * scale))),
        min(height, max(cut[1], round(height * scale))),
    )
    return Layout(scaled, cut, cut)


def _inside(size: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    (width, height), (box_width, box_height) = size, box
    scale = min(1.0, box_width / width, box_height / height)
    return max(1, round(width * scale)), max(1, round(height * scale))
