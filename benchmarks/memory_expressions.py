"""Expressions of DynamoDB as far as Kinstream writes them; ValueError at any other. Pure."""

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Context, Decimal
from functools import lru_cache
from typing import Any, NamedTuple

Item = dict[str, dict[str, Any]]

_CLAUSES = re.compile(r"\b(ADD|SET|REMOVE)\b")
_COMMAS = re.compile(r",\s*(?![^(]*\))")
_COMPARE = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_FUNCTION = re.compile(r"(\w+)\(([^)]*)\)")
_SIZE = re.compile(r"size\((\S+)\)")
_BETWEEN = re.compile(r"BETWEEN (\S+) AND (\S+)")
_EXACT = Context(prec=38)
"""DynamoDB's numbers have 38 digits."""


class Names(NamedTuple):
    """What the placeholders of a request stand for."""

    names: Mapping[str, str]
    values: Item

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> "Names":
        """Those of a request."""
        return cls(request.get("ExpressionAttributeNames", {}), request.get("ExpressionAttributeValues", {}))

    def name(self, text: str) -> str:
        """The attribute that is meant."""
        return self.names.get(text.strip(), text.strip())


def holds(condition: str, item: Item, names: Names) -> bool:
    """Whether an item, empty where there is none, meets a condition: terms joined by OR, or by AND; or
    several such in parentheses, joined by AND."""
    if condition.startswith("("):
        return all(holds(part, item, names) for part in condition[1:-1].split(") AND ("))
    if " OR " in condition:
        return any(_term(term, item, names) for term in condition.split(" OR "))
    return all(_term(term, item, names) for term in condition.split(" AND "))


def _term(term: str, item: Item, names: Names) -> bool:
    if function := _FUNCTION.fullmatch(term.strip()):
        verb, name = function.groups()
        if verb not in {"attribute_exists", "attribute_not_exists"}:
            raise ValueError(f"no such condition is known: {term}")
        return (names.name(name) in item) is (verb == "attribute_exists")
    name, sign, value = term.split()
    if sized := _SIZE.fullmatch(name):
        stored = _size(item.get(names.name(sized[1])))
    else:
        stored = item.get(names.name(name))
    return stored is not None and _COMPARE[sign](plain(stored), plain(names.values[value]))


def _size(typed: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if typed is None else {"N": str(len(next(iter(typed.values()))))}


class KeyCondition(NamedTuple):
    """What a query asks for: one value of the partition's attribute, and a test of the sort attribute."""

    partition: str
    value: Any
    sort: str | None
    matches: Callable[[Any], bool]


def key_condition(expression: str, names: Names) -> KeyCondition:
    """`partition = :value`, and where wanted AND a comparison, a BETWEEN or a begins_with of the sort."""
    first, _, second = expression.partition(" AND ")
    partition, _, value = first.split()
    found = names.name(partition), plain(names.values[value])
    if not second:
        return KeyCondition(*found, None, lambda _: True)
    if function := re.fullmatch(r"begins_with\((\S+), (\S+)\)", second):
        prefix = plain(names.values[function[2]])
        return KeyCondition(*found, names.name(function[1]), lambda stored: stored.startswith(prefix))
    name, _, test = second.partition(" ")
    if between := _BETWEEN.fullmatch(test):
        low, high = (plain(names.values[limit]) for limit in between.groups())
        return KeyCondition(*found, names.name(name), lambda stored: low <= stored <= high)
    sign, limit = test.split()
    compare, bound = _COMPARE[sign], plain(names.values[limit])
    return KeyCondition(*found, names.name(name), lambda stored: compare(stored, bound))


def plain(typed: Mapping[str, Any]) -> Any:
    """A value that can be compared."""
    ((kind, value),) = typed.items()
    return Decimal(value) if kind == "N" else value


def updated(before: Item, request: Mapping[str, Any]) -> Item:
    """The item after an update; `before` stays as it is."""
    item, names = dict(before), Names.of(request)
    for verb, short, operand in _clauses(request["UpdateExpression"]):
        name = names.name(short)
        if verb == "REMOVE":
            item.pop(name, None)
        elif verb == "ADD":
            item[name] = _sum(item.get(name), names.values[operand])
        elif operand.startswith("if_not_exists("):
            item.setdefault(name, names.values[operand[:-1].rpartition(", ")[2]])
        else:
            item[name] = names.values[operand]
    return item


@lru_cache(maxsize=4096)
def _clauses(expression: str) -> list[tuple[str, str, str]]:
    """(verb, attribute, operand) of an update expression."""
    _, *parts = _CLAUSES.split(expression)
    found = []
    for verb, text in zip(parts[::2], parts[1::2], strict=True):
        for clause in _COMMAS.split(text.strip()):
            name, _, operand = clause.partition(" = " if verb == "SET" else " ")
            found.append((verb, name.strip(), operand.strip()))
    return found


def _sum(stored: dict[str, Any] | None, added: dict[str, Any]) -> dict[str, Any]:
    if stored is None:
        return added
    ((kind, value),) = added.items()
    if kind in {"NS", "SS"}:
        return {kind: sorted({*stored[kind], *value})}
    if kind != "N":
        raise ValueError(f"ADD knows no {kind}")
    return {"N": f"{_EXACT.add(Decimal(stored['N']), Decimal(value)).normalize():f}"}
