"""What DynamoDB charges for a write, by its published rules. Pure.

A unit covers 1 KB of the item, the larger of before and after; in a transaction it counts twice. An index
is written once more wherever what it projects changes, twice where the item moves within it; one that
projects keys only is not touched by other changes.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from kinstream.resources import Index

Item = Mapping[str, Mapping[str, Any]]

UNIT_BYTES = 1024
_CONTAINER_BYTES = 3


def item_bytes(item: Item) -> int:
    """Size of an item: names and values."""
    return sum(len(name.encode()) + value_bytes(value) for name, value in item.items())


def value_bytes(typed: Mapping[str, Any]) -> int:
    """Size of an attribute's value without its name."""
    ((kind, value),) = typed.items()
    match kind:
        case "S":
            return len(value.encode())
        case "N":
            return number_bytes(value)
        case "B":
            return len(value)
        case "BOOL" | "NULL":
            return 1
        case "SS":
            return sum(len(member.encode()) for member in value)
        case "NS":
            return sum(map(number_bytes, value))
        case "L":
            return _CONTAINER_BYTES + sum(1 + value_bytes(member) for member in value)
        case "M":
            return _CONTAINER_BYTES + sum(
                1 + len(name.encode()) + value_bytes(member) for name, member in value.items()
            )
    raise ValueError(f"no size is known for the type {kind}")


def number_bytes(text: str) -> int:
    """A byte for two significant digits and one more; zeros at either end do not count."""
    digits = text.lower().partition("e")[0].lstrip("-").replace(".", "").strip("0")
    return math.ceil(len(digits) / 2) + 1


def write_units(before: Item | None, after: Item | None, *, in_transaction: bool) -> int:
    """Units of one write to the table itself."""
    units = max(_units(before), _units(after))
    return units * 2 if in_transaction else units


def index_units(before: Item | None, after: Item | None, indexes: Iterable[Index]) -> int:
    """Units of the indexes that follow the write. They project whole items, or keys alone."""
    units = 0
    for index in indexes:
        old, new = _entry(before, index), _entry(after, index)
        if before == after or (index.keys_only and old == new):
            continue
        # An entry whose key changes is taken out and put in anew.
        if old is not None and old != new:
            units += _units(_projected(before, index))
        if new is not None:
            units += _units(_projected(after, index))
    return units


def _units(item: Item | None) -> int:
    return max(1, math.ceil(item_bytes(item or {}) / UNIT_BYTES))


def _projected(item: Item | None, index: Index) -> Item:
    kept = {"pk", "sk", index.partition, index.sort}
    return {name: value for name, value in (item or {}).items() if not index.keys_only or name in kept}


def _entry(item: Item | None, index: Index) -> tuple[object, object] | None:
    if item is None or index.partition not in item or index.sort not in item:
        return None
    return item[index.partition], item[index.sort]
