"""Where a storyboard's pictures and a preview's pieces come from. Pure."""

import math
from collections.abc import Sequence

from media_worker.domain.recordings import PictureRecipe


def storyboard_times(duration_seconds: float, most: int) -> list[float]:
    """When the pictures are taken: evenly spaced, at most one a second."""
    count = max(1, min(most, math.floor(duration_seconds)))
    return [duration_seconds * number / count for number in range(count)]


def storyboard_columns(tiles: int) -> int:
    """So many side by side, for a sheet about as wide as high."""
    return max(1, math.ceil(math.sqrt(tiles)))


def storyboard_vtt(
    file_name: str, shown: Sequence[float], end_seconds: float, tile: PictureRecipe, columns: int
) -> str:
    """Which part of the sheet is shown when: each picture until the next one, the first from the start."""
    starts = [0.0, *shown[1:]]
    ends = [*starts[1:], max(end_seconds, starts[-1] + 0.001)]
    lines = ["WEBVTT", ""]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        x, y = number % columns * tile.width, number // columns * tile.height
        lines += [
            f"{_clock(start)} --> {_clock(end)}",
            f"{file_name}#xywh={x},{y},{tile.width},{tile.height}",
            "",
        ]
    return "\n".join(lines)


def preview_places(duration_seconds: float, seconds: float, places: int) -> list[tuple[float, float]]:
    """Start and length of each piece; one from the start for short video."""
    if duration_seconds < 2 * seconds:
        return [(0.0, seconds)]
    piece = seconds / places
    return [(duration_seconds * (number + 0.5) / places - piece / 2, piece) for number in range(places)]


def _clock(seconds: float) -> str:
    ms = round(seconds * 1_000)
    return f"{ms // 3_600_000:02}:{ms // 60_000 % 60:02}:{ms // 1_000 % 60:02}.{ms % 1_000:03}"
