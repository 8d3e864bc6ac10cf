"""How often a JSON Schema can be applied to one place of an event. Pure.

A schema may send a validator round in circles, or double its work with each reference: a few lines are
enough for years. So schemas are weighed before they are used, and those that double are refused.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

from kinstream.errors import PermanentError

MAX_APPLICATIONS = 2_000
"""Of subschemas, to one place of an event and to those on the way to it."""
_MAX_LEVELS = 32
"""Beyond it nothing new comes up: who repeats itself has done so by then."""

_HERE_ONE = ("not", "if", "then", "else")
_HERE_MANY = ("allOf", "anyOf", "oneOf")
_BELOW_ONE = (
    *("additionalProperties", "propertyNames", "unevaluatedProperties"),
    *("items", "contains", "unevaluatedItems"),
)
_REFUSED = ("$dynamicRef", "$recursiveRef", "$dynamicAnchor", "$recursiveAnchor")


def weigh(schema: Mapping[str, Any]) -> None:
    """Raise PermanentError unless the work that a schema makes is bounded."""
    _Scale(schema).weigh(schema, _MAX_LEVELS)


class _Scale:
    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._anchors = {str(node["$anchor"]): node for node in _nodes(root) if "$anchor" in node}
        self._weighed: dict[tuple[int, int], int] = {}
        self._open: set[int] = set()

    def weigh(self, node: Any, levels: int) -> int:
        """Applications that `node` makes at one place, and on the heaviest way from there downwards."""
        if not isinstance(node, Mapping):
            return 1
        key = (id(node), levels)
        if key not in self._weighed:
            if id(node) in self._open:
                raise PermanentError("a $ref leads back to itself without going deeper into the data")
            self._open.add(id(node))
            here = 1 + sum(self.weigh(other, levels) for other in self._applied_here(node))
            self._open.discard(id(node))
            below = self._heaviest_below(node, levels - 1) if levels else 0
            self._weighed[key] = self._bounded(here + below)
        return self._weighed[key]

    def _heaviest_below(self, node: Mapping[str, Any], levels: int) -> int:
        # What is below is another place: going back to a node that is open there is no circle.
        opened, self._open = self._open, set()
        named = [self.weigh(other, levels) for other in _members(node, "properties")]
        items = [self.weigh(other, levels) for other in _elements(node, "prefixItems")]
        rest = [self.weigh(node[name], levels) for name in _BELOW_ONE if name in node]
        rest += [self.weigh(other, levels) for other in _members(node, "patternProperties")]
        self._open = opened
        return max(named + items, default=0) + sum(rest)

    def _applied_here(self, node: Mapping[str, Any]) -> Iterator[Any]:
        for name in _HERE_ONE:
            if name in node:
                yield node[name]
        for name in _HERE_MANY:
            yield from _elements(node, name)
        yield from _members(node, "dependentSchemas")
        if "$ref" in node:
            yield self._target(node["$ref"])

    def _target(self, ref: Any) -> Any:
        text = str(ref)
        if not text.startswith("#"):
            raise PermanentError(f"$ref {text[:100]}: only parts of the schema itself, such as #/$defs/name")
        if not text.startswith("#/"):
            found = self._root if text == "#" else self._anchors.get(text[1:])
        else:
            found = _pointed_at(self._root, text[2:])
        if found is None:
            raise PermanentError(f"$ref {text[:100]}: there is no such part of the schema")
        return found

    def _bounded(self, applications: int) -> int:
        if applications > MAX_APPLICATIONS:
            raise PermanentError(
                f"the schema applies more than {MAX_APPLICATIONS:,} subschemas to one value;"
                " say less with $ref, allOf, anyOf and oneOf"
            )
        return applications


def _nodes(root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Every object within, those that are no schema too."""
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, Mapping):
            for name in _REFUSED:
                if isinstance(node.get(name), str):
                    raise PermanentError(f"{name} is not supported; use $ref to a part of the schema")
            if isinstance(node.get("$id"), str) and node is not root:
                raise PermanentError("$id is supported at the top alone; refer with #/$defs/name")
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def _members(node: Mapping[str, Any], name: str) -> list[Any]:
    found = node.get(name)
    return list(found.values()) if isinstance(found, Mapping) else []


def _elements(node: Mapping[str, Any], name: str) -> list[Any]:
    found = node.get(name)
    return found if isinstance(found, list) else []


def _pointed_at(root: Any, pointer: str) -> Any:
    node = root
    for part in unquote(pointer).split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, Mapping):
            node = node.get(name)
        elif isinstance(node, list) and name.isdigit() and int(name) < len(node):
            node = node[int(name)]
        else:
            return None
    return node
