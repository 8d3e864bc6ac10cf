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


def clockwise_turn(rotation: int) -> int:
    """0, 90, 180 or 270 clockwise, from any counterclockwise rotation, to the nearest quarter."""
    return round(-rotation / _QUARTER_TURN) % 4 * _QUARTER_TURN
