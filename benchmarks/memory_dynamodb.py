"""A DynamoDB in memory that checks conditions and confirms at once: so that its callers are measured, not it.

It knows the calls and the expressions that Kinstream's engine uses and refuses all others. Whoever wants to
know what was written listens with `on_write`.
"""

import operator
import re
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from botocore.exceptions import ClientError

Item = dict[str, dict[str, Any]]
Listener = Callable[[str, Item | None, Item, bool], None]
"""Hears (table, item before, item after, whether in a transaction)."""

_CLAUSES = re.compile(r"\b(ADD|SET|REMOVE)\b")
_COMMAS = re.compile(r",\s*(?![^(]*\))")
_COMPARE = {"=": operator.eq, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


class MemoryDynamoDb:
    """Stands in for an aiobotocore client. `own_seconds` is the CPU time spent in here."""

    def __init__(self, on_write: Listener | None = None) -> None:
        self._tables: dict[str, dict[tuple[str, str], Item]] = {}
        self._on_write = on_write
        self.own_seconds = 0.0
        self.calls = 0

    async def batch_get_item(self, RequestItems: dict[str, Any]) -> dict[str, Any]:  # noqa: N803
        return self.handle("BatchGetItem", {"RequestItems": RequestItems})

    async def transact_write_items(self, TransactItems: list[Any]) -> dict[str, Any]:  # noqa: N803
        return self.handle("TransactWriteItems", {"TransactItems": TransactItems})

    async def update_item(self, **request: Any) -> dict[str, Any]:
        return self.handle("UpdateItem", request)

    def handle(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a call by its name on the wire. ClientError as botocore would raise it."""
        began = time.thread_time()
        self.calls += 1
        try:
            match action:
                case "BatchGetItem":
                    return self._batch_get(request["RequestItems"])
                case "TransactWriteItems":
                    return self._transact(request["TransactItems"])
                case "UpdateItem":
                    return self._write_alone("Update", request)
                case "PutItem":
                    return self._write_alone("Put", request)
                case "GetItem":
                    found = self._items(request["TableName"]).get(_key(request["Key"]))
                    return {"Item": found} if found else {}
            raise ClientError({"Error": {"Code": "UnknownOperationException", "Message": action}}, action)
        finally:
            self.own_seconds += time.thread_time() - began

    def _items(self, table: str) -> dict[tuple[str, str], Item]:
        return self._tables.setdefault(table, {})

    def _batch_get(self, wanted: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for table, spec in wanted.items():
            items = self._items(table)
            found[table] = [items[key] for key in map(_key, spec["Keys"]) if key in items]
        return {"Responses": found, "UnprocessedKeys": {}}

    def _write_alone(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        if not self._holds(kind, request):
            raise ClientError({"Error": {"Code": "ConditionalCheckFailedException", "Message": ""}}, kind)
        self._write(kind, request, in_transaction=False)
        return {}

    def _transact(self, writes: list[dict[str, Any]]) -> dict[str, Any]:
        parts = [next(iter(write.items())) for write in writes]
        held = [self._holds(kind, request) for kind, request in parts]
        if not all(held):
            reasons = [
                {"Code": "None"} if ok else {"Code": "ConditionalCheckFailed", **self._before(kind, request)}
                for ok, (kind, request) in zip(held, parts, strict=True)
            ]
            error = {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"}
            answer: Any = {"Error": error, "CancellationReasons": reasons}
            raise ClientError(answer, "TransactWriteItems")
        for kind, request in parts:
            self._write(kind, request, in_transaction=True)
        return {}

    def _before(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        item = self._items(request["TableName"]).get(_target(kind, request))
        return {"Item": item} if item and "ReturnValuesOnConditionCheckFailure" in request else {}

    def _holds(self, kind: str, request: dict[str, Any]) -> bool:
        condition = request.get("ConditionExpression")
        if not condition:
            return True
        item = self._items(request["TableName"]).get(_target(kind, request), {})
        names = request.get("ExpressionAttributeNames", {})
        values = request.get("ExpressionAttributeValues", {})
        return any(_term(term, item, names, values) for term in condition.split(" OR "))

    def _write(self, kind: str, request: dict[str, Any], *, in_transaction: bool) -> None:
        table, key = request["TableName"], _target(kind, request)
        items = self._items(table)
        before = items.get(key)
        after = request["Item"] if kind == "Put" else _updated(before or dict(request["Key"]), request)
        items[key] = after
        if self._on_write:
            self._on_write(table, before, after, in_transaction)


def _key(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _target(kind: str, request: dict[str, Any]) -> tuple[str, str]:
    return _key(request["Item" if kind == "Put" else "Key"])


def _term(term: str, item: Item, names: dict[str, str], values: Item) -> bool:
    if term.startswith("attribute_not_exists("):
        name = term[len("attribute_not_exists(") : -1]
        return names.get(name, name) not in item
    name, sign, value = term.split()
    stored = item.get(names.get(name, name))
    return stored is not None and _COMPARE[sign](_plain(stored), _plain(values[value]))


def _plain(typed: dict[str, Any]) -> Any:
    ((kind, value),) = typed.items()
    return float(value) if kind == "N" else value


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


def _updated(before: Item, request: dict[str, Any]) -> Item:
    item = dict(before)
    names = request.get("ExpressionAttributeNames", {})
    values = request.get("ExpressionAttributeValues", {})
    for verb, short, operand in _clauses(request["UpdateExpression"]):
        name = names.get(short, short)
        if verb == "REMOVE":
            item.pop(name, None)
        elif verb == "ADD":
            item[name] = _sum(item.get(name), values[operand])
        elif operand.startswith("if_not_exists("):
            item.setdefault(name, values[operand[:-1].rpartition(", ")[2]])
        else:
            item[name] = values[operand]
    return item


def _sum(stored: dict[str, Any] | None, added: dict[str, Any]) -> dict[str, Any]:
    if stored is None:
        return added
    ((kind, value),) = added.items()
    if kind == "NS":
        return {"NS": sorted({*stored["NS"], *value})}
    total = float(stored["N"]) + float(value)
    return {"N": str(int(total)) if total.is_integer() else repr(total)}
