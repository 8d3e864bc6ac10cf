"""How many events a second come at which time of a day. Pure."""

import csv
import io
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from kinstream.errors import PermanentError

Floats = npt.NDArray[np.float64]

DAY_SECONDS = 86_400
MOST_PEAK_FACTOR = 10.0
_MOST_POINTS = 100_000
_BISECTIONS = 60


@dataclass(frozen=True, slots=True)
class Surge:
    """A day's events times `factor`, from `at_seconds` on: it takes `rise_seconds` to rise and to fall."""

    factor: float
    at_seconds: float
    rise_seconds: float
    lasting_seconds: float
    """From the begin of the rise to the begin of the fall."""


def times(step_seconds: float, seconds: float = DAY_SECONDS) -> Floats:
    """The middle of each step."""
    middles: Floats = (np.arange(round(seconds / step_seconds), dtype=np.float64) + 0.5) * step_seconds
    return middles


def daily(at: Floats, *, events_a_day: float, peak_factor: float, peak_at_seconds: float) -> Floats:
    """Events a second: one smooth peak a day, `peak_factor` times as high as the average."""
    width = _concentration(peak_factor)
    angle = (at - peak_at_seconds) * 2 * math.pi / DAY_SECONDS
    # A von Mises curve: a bell around the clock, whose mean is its Bessel function.
    shape = np.exp(width * (np.cos(angle) - 1)) / (np.i0(width) * math.exp(-width))
    rates: Floats = shape * (events_a_day / DAY_SECONDS)
    return rates


def surged(rates: Floats, at: Floats, surge: Surge) -> Floats:
    """The same with a surge in it."""
    begin, rise = surge.at_seconds, max(surge.rise_seconds, 1e-9)
    up = np.clip((at - begin) / rise, 0, 1)
    down = np.clip((at - begin - surge.lasting_seconds) / rise, 0, 1)
    return rates * (1 + (surge.factor - 1) * (up - down))


def from_csv(text: str, at: Floats, name: str = "the curve") -> Floats:
    """Events a second from lines of time and rate, a straight line between two of them.

    A time is HH:MM, HH:MM:SS or seconds since midnight; before the first and after the last line the rate
    stays as it is there. A first line that is no data is a heading. PermanentError names the line.
    """
    points: list[tuple[float, float]] = []
    for number, row in enumerate(csv.reader(io.StringIO(text)), 1):
        cells = [cell.strip() for cell in row]
        if not any(cells) or cells[0].startswith("#"):
            continue
        try:
            points.append(_point(cells))
        except ValueError as error:
            if number == 1 and not any(character.isdigit() for character in "".join(cells)):
                continue
            raise PermanentError(f"{name}, line {number}: {error}") from error
        if len(points) > 1 and points[-1][0] <= points[-2][0]:
            raise PermanentError(f"{name}, line {number}: times must rise from line to line")
        if len(points) > _MOST_POINTS:
            raise PermanentError(f"{name} has more than {_MOST_POINTS:,} lines")
    if not points:
        raise PermanentError(f"{name} has no line of time and events a second, like 18:30,1200")
    seconds, rates = zip(*points, strict=True)
    found: Floats = np.interp(at, seconds, rates)
    return found


def seconds_of(text: str) -> float:
    """Seconds since midnight of HH:MM, HH:MM:SS or plain seconds; ValueError says what is wrong."""
    parts = text.split(":")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if not numbers or len(numbers) > 3 or not all(0 <= number < math.inf for number in numbers):
        raise ValueError(f"{text[:40]!r} is no time; write HH:MM, HH:MM:SS or seconds since midnight")
    if len(numbers) > 1 and any(number >= 60 for number in numbers[1:]):
        raise ValueError(f"{text[:40]!r} is no time: minutes and seconds end at 59")
    units = (1, 60, 3_600)
    seconds = sum(
        number * unit for number, unit in zip(reversed(_with_seconds(numbers)), units, strict=False)
    )
    if seconds > DAY_SECONDS:
        raise ValueError(f"{text[:40]!r} lies beyond the day")
    return seconds


def _with_seconds(numbers: list[float]) -> list[float]:
    """HH:MM has none."""
    return [*numbers, 0.0] if len(numbers) == 2 else numbers


def _point(cells: list[str]) -> tuple[float, float]:
    if len(cells) != 2:
        raise ValueError(f"two values are needed, time and events a second; there are {len(cells)}")
    try:
        rate = float(cells[1])
    except ValueError:
        rate = -1.0
    if not 0 <= rate < math.inf:
        raise ValueError(f"{cells[1][:40]!r} is no number of events a second")
    return seconds_of(cells[0]), rate


def _concentration(peak_factor: float) -> float:
    """The width by which the bell is so high: by halving, as there is no formula for it."""
    if not 1 <= peak_factor <= MOST_PEAK_FACTOR:
        raise PermanentError(
            f"the peak factor must lie between 1 and {MOST_PEAK_FACTOR:g}, not {peak_factor:g}"
        )
    low, high = 0.0, 700.0
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        height: Any = 1 / (np.i0(middle) * math.exp(-middle))
        low, high = (middle, high) if height < peak_factor else (low, middle)
    return low
