"""A DynamoDB in memory that checks conditions and limits and confirms at once.

For benchmarks, so that its callers are measured and not it, and for tests that choose what happens between
any two calls. `tests/contract/test_dynamodb.py` holds it against the emulator. It knows the calls and the
expressions that Kinstream uses and refuses all others. Whoever wants to know what was written listens with
`on_write`.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError

from benchmarks.memory_expressions import Item, KeyCondition, Names, holds, key_condition, plain, updated
from benchmarks.units import item_bytes
from kinstream.resources import TABLES

Listener = Callable[[str, Item | None, Item | None, bool], None]
"""Hears (table, item before, item after, whether in a transaction); one of the items at least."""

MAX_ITEM_BYTES = 400 * 1024
MAX_TRANSACTION_ITEMS = 100
MAX_TRANSACTION_BYTES = 4 * 1024 * 1024
MAX_READ_KEYS = 100
MAX_BATCH_WRITES = 25
_REMEMBERED_TOKENS = 1_000
_TOO_BIG = "Item size has exceeded the maximum allowed size"
_INDEXES = {(table.name, index.name): index for table in TABLES for index in table.indexes}

_Write = tuple[str, dict[str, Any]]
"""(Put, Update or ConditionCheck; its request)."""


class MemoryDynamoDb:
    """Stands in for an aiobotocore client. `own_seconds` is the CPU time spent in here."""

    def __init__(self, on_write: Listener | None = None) -> None:
        self._tables: dict[str, dict[str, dict[str, Item]]] = {}
        self._on_write = on_write
        self._tokens: OrderedDict[str, None] = OrderedDict()
        self.own_seconds = 0.0
        self.calls = 0

    async def batch_get_item(self, **request: Any) -> dict[str, Any]:
        return self.handle("BatchGetItem", request)

    async def transact_write_items(self, **request: Any) -> dict[str, Any]:
        return self.handle("TransactWriteItems", request)

    async def batch_write_item(self, **request: Any) -> dict[str, Any]:
        return self.handle("BatchWriteItem", request)

    async def update_item(self, **request: Any) -> dict[str, Any]:
        return self.handle("UpdateItem", request)

    async def put_item(self, **request: Any) -> dict[str, Any]:
        return self.handle("PutItem", request)

    async def get_item(self, **request: Any) -> dict[str, Any]:
        return self.handle("GetItem", request)

    async def query(self, **request: Any) -> dict[str, Any]:
        return self.handle("Query", request)

    def handle(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Answer a call by its name on the wire. ClientError as botocore would raise it."""
        began = time.thread_time()
        self.calls += 1
        try:
            match action:
                case "BatchGetItem":
                    return self._batch_get(request["RequestItems"])
                case "TransactWriteItems":
                    return self._transact(request["TransactItems"], request.get("ClientRequestToken"))
                case "BatchWriteItem":
                    return self._batch_delete(request["RequestItems"])
                case "UpdateItem":
                    return self._write_alone("Update", request)
                case "PutItem":
                    return self._write_alone("Put", request)
                case "GetItem":
                    found = self._item(request["TableName"], _key(request["Key"]))
                    return {"Item": found} if found else {}
                case "Query":
                    return self._query(request)
            raise _refusal("UnknownOperationException", action)
        finally:
            self.own_seconds += time.thread_time() - began

    def items(self, table: str) -> Iterable[Item]:
        """All items of a table."""
        return [item for partition in self._tables.get(table, {}).values() for item in partition.values()]

    def _item(self, table: str, key: tuple[str, str]) -> Item | None:
        return self._tables.get(table, {}).get(key[0], {}).get(key[1])

    def _batch_get(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if sum(len(spec["Keys"]) for spec in wanted.values()) > MAX_READ_KEYS:
            raise _refusal("ValidationException", "Too many items requested for the BatchGetItem call")
        found = {
            table: [item for key in spec["Keys"] if (item := self._item(table, _key(key)))]
            for table, spec in wanted.items()
        }
        return {"Responses": found, "UnprocessedKeys": {}}

    def _batch_delete(self, wanted: dict[str, Any]) -> dict[str, Any]:
        if not 0 < sum(map(len, wanted.values())) <= MAX_BATCH_WRITES:
            raise _refusal("ValidationException", "Too many items requested for the BatchWriteItem call")
        for table, writes in wanted.items():
            for write in writes:
                pk, sk = _key(write["DeleteRequest"]["Key"])
                before = self._tables.get(table, {}).get(pk, {}).pop(sk, None)
                if before and self._on_write:
                    self._on_write(table, before, None, False)
        return {"UnprocessedItems": {}}

    def _query(self, request: dict[str, Any]) -> dict[str, Any]:
        wanted = key_condition(request["KeyConditionExpression"], Names.of(request))
        rows, sort = self._view(request["TableName"], request.get("IndexName"), wanted)
        is_forward = request.get("ScanIndexForward", True)

        def place(row: Item) -> tuple[Any, ...]:
            return plain(row[sort]), *_key(row)

        found = sorted(
            (row for row in rows if wanted.sort is None or wanted.matches(plain(row[wanted.sort]))),
            key=place,
            reverse=not is_forward,
        )
        if after := request.get("ExclusiveStartKey"):
            # By its place: the row itself may be gone by now.
            found = [
                row
                for row in found
                if place(row) != place(after) and (place(row) > place(after)) is is_forward
            ]
        page = found[: request.get("Limit", len(found))]
        answer: dict[str, Any] = {"Items": page, "Count": len(page)}
        if len(page) < len(found):
            answer["LastEvaluatedKey"] = {
                name: page[-1][name] for name in {"pk", "sk", wanted.partition, sort}
            }
        return answer

    def _view(self, table: str, index_name: str | None, wanted: KeyCondition) -> tuple[list[Item], str]:
        """(items of the partition that is asked for, the attribute that they are sorted by)."""
        if index_name is None:
            return list(self._tables.get(table, {}).get(wanted.value, {}).values()), "sk"
        index = _INDEXES[table.rpartition("-")[2], index_name]
        assert wanted.partition == index.partition
        assert wanted.sort in {None, index.sort}
        # Sparse: an item without the index's attributes is not in it.
        members = [item for item in self.items(table) if index.partition in item and index.sort in item]
        found = [item for item in members if plain(item[index.partition]) == wanted.value]
        if index.keys_only:
            projected = ("pk", "sk", index.partition, index.sort)
            found = [{name: item[name] for name in projected} for item in found]
        return found, index.sort

    def _write_alone(self, kind: str, request: dict[str, Any]) -> dict[str, Any]:
        if not self._holds(kind, request):
            raise _refusal("ConditionalCheckFailedException", "The conditional request failed")
        after = self._after(kind, request)
        if item_bytes(after) > MAX_ITEM_BYTES:
            raise _refusal("ValidationException", _TOO_BIG)
        self._write(kind, request, after, in_transaction=False)
        return {}

    def _transact(self, writes: list[dict[str, Any]], token: str | None) -> dict[str, Any]:
        if token is not None and token in self._tokens:
            return {}
        parts = [next(iter(write.items())) for write in writes]
        _check_request(parts)
        # All are worked out before the first is written: what one cannot hold, none writes.
        afters = [self._after(kind, request) for kind, request in parts]
        reasons = [
            self._reason(kind, request, after) for (kind, request), after in zip(parts, afters, strict=True)
        ]
        if any(reason["Code"] != "None" for reason in reasons):
            error = {"Code": "TransactionCanceledException", "Message": "Transaction cancelled"}
            answer: Any = {"Error": error, "CancellationReasons": reasons}
            raise ClientError(answer, "TransactWriteItems")
        for (kind, request), after in zip(parts, afters, strict=True):
            if kind != "ConditionCheck":
                self._write(kind, request, after, in_transaction=True)
        if token is not None:
            self._tokens[token] = None
            if len(self._tokens) > _REMEMBERED_TOKENS:
                self._tokens.popitem(last=False)
        return {}

    def _reason(self, kind: str, request: dict[str, Any], after: Item) -> dict[str, Any]:
        if self._holds(kind, request):
            return {"Code": "ValidationError" if item_bytes(after) > MAX_ITEM_BYTES else "None"}
        before = self._item(request["TableName"], _target(kind, request))
        tells = before is not None and request.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD"
        return {"Code": "ConditionalCheckFailed", **({"Item": before} if tells else {})}

    def _holds(self, kind: str, request: dict[str, Any]) -> bool:
        condition = request.get("ConditionExpression")
        if not condition:
            return True
        item = self._item(request["TableName"], _target(kind, request)) or {}
        return holds(condition, item, Names.of(request))

    def _after(self, kind: str, request: dict[str, Any]) -> Item:
        match kind:
            case "Put":
                return dict(request["Item"])
            case "Update":
                before = self._item(request["TableName"], _target(kind, request))
                return updated(before or request["Key"], request)
            case "ConditionCheck":
                return {}
        raise _refusal("UnknownOperationException", kind)

    def _write(self, kind: str, request: dict[str, Any], after: Item, *, in_transaction: bool) -> None:
        table, (pk, sk) = request["TableName"], _target(kind, request)
        partition = self._tables.setdefault(table, {}).setdefault(pk, {})
        before = partition.get(sk)
        partition[sk] = after
        if self._on_write:
            self._on_write(table, before, after, in_transaction)


def _check_request(parts: list[_Write]) -> None:
    if not 0 < len(parts) <= MAX_TRANSACTION_ITEMS:
        raise _refusal("ValidationException", f"Member must have length from 1 to {MAX_TRANSACTION_ITEMS}")
    targets = {(request["TableName"], _target(kind, request)) for kind, request in parts}
    if len(targets) < len(parts):
        raise _refusal(
            "ValidationException", "Transaction request cannot include multiple operations on one item"
        )
    puts = [item_bytes(request.get("Item", {})) for _, request in parts]
    if max(puts) > MAX_ITEM_BYTES:
        raise _refusal("ValidationException", _TOO_BIG)
    values = [item_bytes(request.get("ExpressionAttributeValues", {})) for _, request in parts]
    if sum(puts) + sum(values) > MAX_TRANSACTION_BYTES:
        raise _refusal("ValidationException", "Transaction request exceeds the 4MB transaction size limit")


def _refusal(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "DynamoDB")


def _key(item: Item) -> tuple[str, str]:
    return item["pk"]["S"], item["sk"]["S"]


def _target(kind: str, request: dict[str, Any]) -> tuple[str, str]:
    return _key(request["Item" if kind == "Put" else "Key"])
