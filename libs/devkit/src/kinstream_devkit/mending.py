"""How `kinstream recover` mends an event: by simple steps, or by an expression. Pure but for what the
operator's own expression does: it is run as Python, with all that Python may do."""

import copy
import datetime
import json
import re
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ingest_api.judgement import UNDECODABLE
from kinstream.errors import PermanentError
from kinstream_devkit.quarantine import Entry

Step = Callable[[dict[str, Any]], None]
"""Changes an event in place. Doing it again changes nothing more."""

_MODULES = {"datetime": datetime, "json": json, "re": re, "uuid": uuid}


class MendError(Exception):
    """Why one event could not be mended. The others may be."""


class Mend:
    """Steps, then the expression. The same event always comes out the same, if the expression does so."""

    def __init__(self, steps: Sequence[Step] = (), expression: str | None = None) -> None:
        self._steps = steps
        self._code = None
        if expression is not None:
            try:
                self._code = compile(expression, "<--python>", "eval")
            except (SyntaxError, ValueError) as error:
                raise PermanentError(f"--python: no Python expression: {error}") from error

    def __call__(self, entry: Entry) -> bytes | None:
        """JSON of the mended event, None where the expression says to skip it; MendError where it fails."""
        try:
            event = entry.value
        except UNDECODABLE as error:
            raise MendError(f"it cannot be read: {error}") from error
        if self._steps and not isinstance(event, dict):
            raise MendError("it is no JSON object: --python can read its text, --set and the like cannot")
        for step in self._steps:
            step(event)
        if self._code is not None:
            event = self._evaluate(entry, event)
        if event is None:
            return None
        if not isinstance(event, dict):
            raise MendError(f"the result is no object but {type(event).__name__}")
        try:
            return msgspec.json.encode(event)
        except (TypeError, ValueError, RecursionError, OverflowError) as error:
            raise MendError(f"the result is no JSON: {error}") from error

    def _evaluate(self, entry: Entry, event: Any) -> Any:
        assert self._code is not None
        # One scope, so that a comprehension within the expression sees the names too.
        names: dict[str, Any] = {
            **_MODULES,
            "event": event,
            "app": entry.app,
            "received_at": entry.received_at,
            "reason": entry.reason,
            "detail": entry.detail,
        }
        try:
            return eval(self._code, names)  # noqa: S307 - the operator's own expression, in their own process
        except Exception as error:
            # Whatever it raises, it concerns this event alone.
            raise MendError(f"--python: {type(error).__name__}: {error}") from error


def set_step(text: str) -> Step:
    """`path=value`: sets a field by its dotted path. The value is JSON, else the text itself."""
    path, value = _pair(text, "--set", "data.content_id=story-7")
    try:
        parsed = json.loads(value)
    except ValueError:
        parsed = value

    def step(event: dict[str, Any]) -> None:
        _put(event, path, copy.deepcopy(parsed))

    return step


def rename_step(text: str) -> Step:
    """`old=new`: moves a field from one dotted path to another; an event without it is left alone."""
    old, new = _pair(text, "--rename", "costumer_id=customer_id")

    def step(event: dict[str, Any]) -> None:
        parent, name = _parent(event, old)
        if parent is not None and name in parent:
            _put(event, new, parent.pop(name))

    return step


def drop_step(path: str) -> Step:
    """Removes the field at a dotted path."""

    def step(event: dict[str, Any]) -> None:
        parent, name = _parent(event, path)
        if parent is not None:
            parent.pop(name, None)

    return step


def _pair(text: str, option: str, example: str) -> tuple[str, str]:
    left, sign, right = text.partition("=")
    if not left or not sign or (option == "--rename" and not right):
        raise PermanentError(f"{option} {text}: write it as {option} {example}")
    return left, right


def _parent(event: dict[str, Any], path: str) -> tuple[dict[str, Any] | None, str]:
    *way, name = path.split(".")
    node: Any = event
    for part in way:
        node = node.get(part) if isinstance(node, dict) else None
    return (node if isinstance(node, dict) else None), name


def _put(event: dict[str, Any], path: str, value: Any) -> None:
    *way, name = path.split(".")
    node: Any = event
    for part in way:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise MendError(f"{path}: {part} is no object")
    node[name] = value
