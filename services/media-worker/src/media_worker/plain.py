"""Values as plain JSON and back, for what travels through the catalog."""

from fractions import Fraction
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Dictionaries, lists, texts and numbers."""
    return msgspec.to_builtins(value, enc_hook=str)


def from_plain(value: Any, wanted: type[T]) -> T:
    """The value that `to_plain` was given; msgspec.ValidationError for anything else."""
    return msgspec.convert(value, wanted, dec_hook=_special)


def _special(wanted: type, value: Any) -> Any:
    if wanted is Fraction:
        return Fraction(value)
    raise NotImplementedError(wanted)
