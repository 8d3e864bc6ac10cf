"""Plain Python values to and from DynamoDB's typed attributes, without boto3's Decimal detour."""

import math
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping, Set
from types import NoneType
from typing import Any

Item = dict[str, dict[str, Any]]

_SMALLEST = 1e-130
"""Of the positive numbers that DynamoDB holds. It refuses an item with a smaller one, which becomes this."""


def attribute(value: Any) -> dict[str, Any]:
    """A typed attribute. Sets become number sets or string sets and must not be empty."""
    typed = _TYPED.get(type(value))
    return typed(value) if typed else _typed_by_likeness(value)


def _typed_by_likeness(value: Any) -> dict[str, Any]:
    match value:
        case str():
            return {"S": str(value)}
        case int():
            return {"N": str(int(value))}
        case Mapping():
            return {"M": {key: attribute(member) for key, member in value.items()}}
    raise TypeError(f"DynamoDB holds no {type(value).__name__}")


def _held(value: float) -> float:
    return math.copysign(_SMALLEST, value) if 0 < abs(value) < _SMALLEST else value


def _set(value: Set[Any]) -> dict[str, Any]:
    kind = "SS" if all(isinstance(member, str) for member in value) else "NS"
    return {kind: sorted(str(member) for member in value)}


def _list(value: Iterable[Any]) -> dict[str, Any]:
    return {"L": [attribute(member) for member in value]}


_TYPED: dict[type, Callable[[Any], dict[str, Any]]] = {
    str: lambda value: {"S": value},
    int: lambda value: {"N": str(value)},
    float: lambda value: {"N": repr(_held(value))},
    bytes: lambda value: {"B": value},
    bool: lambda value: {"BOOL": value},
    NoneType: lambda _: {"NULL": True},
    set: _set,
    frozenset: _set,
    list: _list,
    tuple: _list,
}


def to_item(values: Mapping[str, Any]) -> Item:
    """An item of plain values."""
    return {name: attribute(value) for name, value in values.items()}


def to_key(key: tuple[str, str]) -> Item:
    """A key (partition, sort) as requests name it."""
    return to_item({"pk": key[0], "sk": key[1]})


def value_of(typed: Mapping[str, Any]) -> Any:
    """The plain value of a typed attribute; whole numbers come back as int, others as float."""
    ((kind, value),) = typed.items()
    match kind:
        case "N":
            return _number(value)
        case "NS":
            return {_number(member) for member in value}
        case "SS":
            return set(value)
        case "L":
            return [value_of(member) for member in value]
        case "M":
            return {key: value_of(member) for key, member in value.items()}
        case "B":
            # Text is how it travels: `kinstream.dynamodb_http` leaves it to us.
            return value if isinstance(value, bytes) else b64decode(value)
        case "NULL":
            return None
    return value


def from_item(item: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The plain values of an item."""
    return {name: value_of(typed) for name, typed in item.items()}


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
