"""Colours of bright screens brought to usual ones: a table from PQ or HLG (BT.2020) to BT.709. Pure.

Up to half of a usual screen's white, light stays as it is; from there up to 1,000 nits it is pressed
together smoothly. What is brighter is white.
"""

import math
from functools import cache
from itertools import product

PQ, HLG = 16, 18

_SIDE = 33
_WHITE_NITS = 203.0  # ITU-R BT.2408: paper under the light of the scene
_PEAK_NITS = 1_000.0
_KNEE, _PEAK = 0.5, _PEAK_NITS / _WHITE_NITS
_SCREEN_GAMMA = 2.4
_TO_BT709 = (
    (1.660491, -0.587641, -0.072850),
    (-0.124550, 1.132900, -0.008349),
    (-0.018151, -0.100579, 1.118730),
)


@cache
def cube(transfer: int) -> str:
    """The table in the form of a .cube file, red running fastest."""
    levels = [_light(number / (_SIDE - 1), transfer) for number in range(_SIDE)]
    rows = [
        " ".join(f"{value:.5f}" for value in _usual(red, green, blue, transfer))
        for blue, green, red in product(levels, repeat=3)
    ]
    return "\n".join([f"LUT_3D_SIZE {_SIDE}", *rows, ""])


def _light(code: float, transfer: int) -> float:
    """PQ: shown light, in whites of a usual screen. HLG: light of the scene, from 0 to 1."""
    if transfer == PQ:
        power = code ** (1 / 78.84375)
        base = max(power - 0.8359375, 0.0) / (18.8515625 - 18.6875 * power)
        return float(10_000 * base ** (1 / 0.1593017578125) / _WHITE_NITS)
    if code <= 0.5:
        return float(code**2 / 3)
    return (math.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12


def _usual(red: float, green: float, blue: float, transfer: int) -> tuple[float, ...]:
    light = (red, green, blue)
    if transfer != PQ:  # a screen of 1,000 nits shows a scene with this gamma
        luminance = 0.2627 * red + 0.6780 * green + 0.0593 * blue
        gain = _PEAK * luminance**0.2 if luminance else 0.0
        light = (red * gain, green * gain, blue * gain)
    brightest = max(light)
    share = _pressed(brightest) / brightest if brightest else 0.0
    mixed = (share * sum(a * b for a, b in zip(row, light, strict=True)) for row in _TO_BT709)
    return tuple(min(1.0, max(0.0, value)) ** (1 / _SCREEN_GAMMA) for value in mixed)


def _pressed(light: float) -> float:
    """A hyperbola that goes on from the knee without a bend and ends at 1 for the peak."""
    if light <= _KNEE:
        return light
    a = -(_KNEE**2) * (_PEAK - 1) / (_KNEE**2 - 2 * _KNEE + _PEAK)
    b = (_KNEE**2 - 2 * _KNEE * _PEAK + _PEAK) / (_PEAK - 1)
    return (b**2 + 2 * b * _KNEE + _KNEE**2) / (b - a) * (min(light, _PEAK) + a) / (min(light, _PEAK) + b)
