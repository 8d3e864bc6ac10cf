"""Sizes and turns of pictures."""

from dataclasses import dataclass

_QUARTER_TURN = 90


@dataclass(frozen=True, slots=True)
class Scale:
    """A picture's rendition: its name and size in pixels."""

    name: str
    width: int
    height: int


def fit(width: int, height: int, side: int) -> tuple[int, int]:
    """Width and height with the longer one at most `side`; never enlarged, never below one pixel."""
    longest = max(width, height)
    if longest <= side:
        return width, height
    return max(1, round(width * side / longest)), max(1, round(height * side / longest))


def even(width: int, height: int) -> tuple[int, int]:
    """Both even and at least 2, never larger unless below 2: pictures with one colour for four pixels."""
    return max(2, width - width % 2), max(2, height - height % 2)


def square_pixels(width: int, height: int, pixel_aspect: tuple[int, int]) -> tuple[int, int]:
    """The size on a screen: the side on which pixels are longer grows, so that nothing is lost."""
    wide, high = pixel_aspect
    if wide >= high:
        return round(width * wide / high), height
    return width, round(height * high / wide)


def clockwise_turn(rotation: int) -> int:
    """0, 90, 180 or 270 clockwise, from any counterclockwise rotation, to the nearest quarter."""
    return round(-rotation / _QUARTER_TURN) % 4 * _QUARTER_TURN
