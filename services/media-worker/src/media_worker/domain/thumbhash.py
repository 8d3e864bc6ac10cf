"""ThumbHash: a picture as some 25 bytes, from which an app draws a blur of it until it is there. Pure.

Brightness is kept as the longest cosine waves of the picture, 7 along its longer side, two colour
differences and the transparency as fewer; each wave's strength has four bits. Apps decode it with the public
libraries of the format.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import cos, floor, pi
from operator import mul

_WAVES, _WAVES_BESIDE_ALPHA, _COLOR_WAVES, _ALPHA_WAVES = 7, 5, 3, 5
_LEAST_WAVES = 3
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True)
class _Channel:
    mean: float
    waves: list[float]
    """From 0 to 1, half is none."""
    scale: float


def thumbhash(width: int, height: int, rgba: bytes) -> bytes:
    """The hash of a picture of at most 100 by 100 pixels, given as rows of red, green, blue, alpha."""
    red, green, blue, alpha = (_shares(rgba[band::4]) for band in range(4))
    covered = sum(alpha)
    has_alpha = covered < width * height
    if has_alpha:
        # What is clear takes the mean colour, which disturbs the waves of the rest least.
        red, green, blue = (_over_mean(band, alpha, covered) for band in (red, green, blue))
    most = _WAVES_BESIDE_ALPHA if has_alpha else _WAVES
    across, down = (max(1, _rounded(most * side / max(width, height))) for side in (width, height))

    def channel(values: Sequence[float], waves_across: int, waves_down: int) -> _Channel:
        return _encoded(values, width, height, waves_across, waves_down)

    light = channel(
        [(r + g + b) / 3 for r, g, b in zip(red, green, blue, strict=True)],
        max(_LEAST_WAVES, across),
        max(_LEAST_WAVES, down),
    )
    yellow = channel(
        [(r + g) / 2 - b for r, g, b in zip(red, green, blue, strict=True)], _COLOR_WAVES, _COLOR_WAVES
    )
    reddish = channel([r - g for r, g in zip(red, green, strict=True)], _COLOR_WAVES, _COLOR_WAVES)
    clear = channel(alpha, _ALPHA_WAVES, _ALPHA_WAVES) if has_alpha else None

    is_wide = width > height
    first = (
        _rounded(63 * light.mean)
        | _rounded(31.5 + 31.5 * yellow.mean) << 6
        | _rounded(31.5 + 31.5 * reddish.mean) << 12
        | _rounded(31 * light.scale) << 18
        | has_alpha << 23
    )
    second = (
        (down if is_wide else across)
        | _rounded(63 * yellow.scale) << 3
        | _rounded(63 * reddish.scale) << 9
        | is_wide << 15
    )
    head = first.to_bytes(3, "little") + second.to_bytes(2, "little")
    if clear:
        head += bytes([_rounded(15 * clear.mean) | _rounded(15 * clear.scale) << 4])
    waves = [wave for part in (light, yellow, reddish, clear) if part for wave in part.waves]
    return head + _nibbles([_rounded(15 * wave) for wave in waves])


def _shares(band: bytes) -> list[float]:
    return [value / 255 for value in band]


def _over_mean(band: list[float], alpha: list[float], covered: float) -> list[float]:
    mean = sum(map(mul, band, alpha)) / covered if covered else 0.0
    return [mean * (1 - cover) + cover * value for value, cover in zip(band, alpha, strict=True)]


def _encoded(
    values: Sequence[float], width: int, height: int, waves_across: int, waves_down: int
) -> _Channel:
    rows = [values[start : start + width] for start in range(0, width * height, width)]
    # One direction after the other: a sum over each row first, then down the column of sums.
    sums = [[sum(map(mul, row, _wave(cx, width))) for row in rows] for cx in range(waves_across)]
    strengths = [
        sum(map(mul, sums[cx], _wave(cy, height))) / (width * height)
        for cx, cy in _kept(waves_across, waves_down)
    ]
    mean, *waves = strengths
    scale = max((abs(wave) for wave in waves), default=0.0)
    if scale < _NOTHING:
        # One colour. What is left of it are rounding errors, which differ between machines.
        waves, scale = [0.5] * len(waves), 0.0
    else:
        waves = [0.5 + 0.5 / scale * wave for wave in waves]
    return _Channel(mean, waves, scale)


def _kept(across: int, down: int) -> Iterator[tuple[int, int]]:
    """The longer waves: half of the square of all, without its far corner."""
    for cy in range(down):
        cx = 0
        while cx * down < across * (down - cy):
            yield cx, cy
            cx += 1


@cache
def _wave(number: int, length: int) -> list[float]:
    return [cos(pi / length * number * (place + 0.5)) for place in range(length)]


def _nibbles(values: list[int]) -> bytes:
    pairs = zip(values[::2], [*values[1::2], 0], strict=False)
    return bytes(low | high << 4 for low, high in pairs)


def _rounded(value: float) -> int:
    return floor(value + 0.5)
