"""DynamoDB as the engine sees it: read what is not remembered, commit on condition, learn from refusals."""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from opentelemetry.trace import SpanKind

from kinstream.dynamo import Item, from_item, to_item, to_key
from kinstream.errors import PermanentError, RetryableError
from kinstream.keys import Key
from kinstream.ledger_format import Bucket, decode_bucket, split_sort_key
from kinstream.tracing import part
from session_worker.engine.transaction import Origin, Remembered, Switch, TableNames, Transaction

T = TypeVar("T")

MAX_READ_KEYS = 100
"""DynamoDB's limit on the keys of a BatchGetItem."""

MAX_READ_ATTEMPTS = 6
REMEMBERED_ENTRIES = 500_000
"""Entries of all remembered buckets together: some 50 MB."""

REMEMBERED_NAMES = 100_000
"""Names of all remembered counters together."""

HEAD_SUFFIX = "@head"


class StaleError(RetryableError):
    """Somebody else committed first. What was remembered is corrected: compute again and retry."""


class BusyError(RetryableError):
    """Another transaction touches the same items right now: retry in a moment, or with less."""


class AwayError(RetryableError):
    """DynamoDB throttles or does not answer: smaller transactions would only make more of it."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Stored state of a timeline: its head, what the bucket before carries out, the buckets after."""

    head: bytes
    head_version: int
    carry: bytes
    buckets: Sequence[Bucket]


class Store:
    """Remembers what it read or wrote, as many items as `capacity`; DynamoDB has the last word.

    Guarantee: a commit happens whole or not at all, and never over a version it has not seen.
    """

    def __init__(self, client: Any, tables: TableNames, registry_table: str, capacity: int = 5_000) -> None:
        self._client = client
        self.tables = tables
        self._registry_table = registry_table
        self._buckets = _Lru[Bucket](capacity, REMEMBERED_ENTRIES, lambda bucket: len(bucket.facts))
        self._switches = _Lru[Switch](capacity)
        self._counters = _Lru[Remembered](capacity, REMEMBERED_NAMES, lambda counter: len(counter.names))

    async def buckets(self, wanted: Iterable[Key]) -> dict[Key, Bucket]:
        """The buckets of these keys, empty ones where nothing is stored."""
        return await self._read(self.tables.ledger, wanted, self._buckets, _bucket)

    async def switches(self, wanted: Iterable[Key]) -> dict[Key, Switch]:
        """The toggles of these keys."""
        return await self._read(self.tables.records, wanted, self._switches, _switch)

    async def timeline(self, partition: str, series: str, first_start_ms: int) -> Timeline:
        """Everything of a timeline that events from `first_start_ms` on can change."""
        first = f"{series}@{first_start_ms // 1000:011d}"
        head = await _answer(
            self._client.get_item(
                TableName=self.tables.ledger,
                Key=to_item({"pk": partition, "sk": series + HEAD_SUFFIX}),
                ConsistentRead=True,
            )
        )
        state = from_item(head.get("Item", {}))
        before = await self._range(partition, f"{series}@", first, newest_first=True, most=2)
        after = await self._range(partition, first, f"{series}@:")
        carry = [item for item in before if item["sk"] != first]
        # The range takes in the first bucket itself, where that is stored already.
        return Timeline(
            state.get("state", b""),
            state.get("version", 0),
            carry[0].get("state", b"") if carry else b"",
            [_bucket_of(item) for item in after],
        )

    async def references(self, partition: str) -> Sequence[Mapping[str, Any]]:
        """Records of the registry under a partition key."""
        return await self._query(
            TableName=self._registry_table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": partition}),
            ConsistentRead=True,
        )

    async def commit(self, transaction: Transaction) -> None:
        """All of it or nothing. StaleError, BusyError, AwayError; PermanentError where it never can be."""
        switches = await self.switches(transaction.toggle_keys())
        items, origins = transaction.requests(switches, self._remembered)
        if not items:
            return
        try:
            with part("commit", SpanKind.CLIENT, items=len(items)):
                await self._client.transact_write_items(TransactItems=items)
        except ClientError as error:
            raise self._refused(error, origins, transaction) from error
        except (BotoCoreError, OSError) as error:
            # Whether it happened is unknown; if it did, the versions will say so.
            self._forget(origins)
            raise AwayError(f"DynamoDB did not answer: {type(error).__name__}") from error
        self._remember(transaction, items, origins)

    async def _read(
        self, table: str, wanted: Iterable[Key], memory: "_Lru[T]", decode: Callable[[Key, Item | None], T]
    ) -> dict[Key, T]:
        found = {key: memory.get(key) for key in wanted}
        missing = [key for key, value in found.items() if value is None]
        for start in range(0, len(missing), MAX_READ_KEYS):
            part = missing[start : start + MAX_READ_KEYS]
            items = await self._batch_get(table, part)
            for key in part:
                found[key] = memory.put(key, decode(key, items.get(key)))
        return {key: value for key, value in found.items() if value is not None}

    async def _batch_get(self, table: str, wanted: Sequence[Key]) -> dict[Key, Item]:
        # Eventually consistent: a stale answer costs one refused commit, a consistent one twice as much.
        pending: dict[str, Any] = {
            table: {"Keys": [to_key(key) for key in wanted]},
        }
        found: dict[Key, Item] = {}
        for attempt in range(MAX_READ_ATTEMPTS):
            await asyncio.sleep(0.05 * attempt)
            answer = await _answer(self._client.batch_get_item(RequestItems=pending))
            for item in answer["Responses"].get(table, []):
                found[item["pk"]["S"], item["sk"]["S"]] = item
            pending = answer.get("UnprocessedKeys", {})
            if not pending:
                return found
        raise AwayError("DynamoDB leaves keys unread")

    async def _range(
        self, partition: str, start: str, end: str, *, newest_first: bool = False, most: int | None = None
    ) -> list[dict[str, Any]]:
        query: dict[str, Any] = {
            "TableName": self.tables.ledger,
            "KeyConditionExpression": "pk = :pk AND sk BETWEEN :start AND :end",
            "ExpressionAttributeValues": to_item({":pk": partition, ":start": start, ":end": end}),
            "ScanIndexForward": not newest_first,
            "ConsistentRead": True,
        }
        return await self._query(**query, **({"Limit": most} if most else {}))

    async def _query(self, **query: Any) -> list[dict[str, Any]]:
        """All pages of a query, or what its limit allows."""
        items: list[dict[str, Any]] = []
        while True:
            answer = await _answer(self._client.query(**query))
            items += map(from_item, answer["Items"])
            if "LastEvaluatedKey" not in answer or len(items) >= query.get("Limit", math.inf):
                return items
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def _refused(self, error: ClientError, origins: Sequence[Origin], transaction: Transaction) -> Exception:
        code = error.response["Error"]["Code"]
        if code == "ValidationException":
            return PermanentError(f"DynamoDB cannot hold this: {error.response['Error']['Message']}")
        if code != "TransactionCanceledException":
            self._forget(origins)
            return AwayError(f"DynamoDB refused: {code}")
        stale, causes = False, set[str]()
        for origin, reason in zip(origins, error.response.get("CancellationReasons", []), strict=False):
            if reason.get("Code") == "ConditionalCheckFailed":
                stale = True
                self._learn(origin, reason.get("Item"), transaction)
            elif reason.get("Code") not in {None, "None"}:
                causes.add(reason["Code"])
        if stale:
            return StaleError("another worker was first")
        if "ValidationError" in causes:
            return PermanentError("DynamoDB cannot hold this: an item is too big or malformed")
        if causes <= {"TransactionConflict"}:
            return BusyError("another transaction was under way")
        return AwayError(f"DynamoDB cancelled: {', '.join(sorted(causes))}")

    def _learn(self, origin: Origin, item: Item | None, transaction: Transaction) -> None:
        match origin.kind:
            case "bucket":
                self._buckets.put(origin.key, _bucket(origin.key, item))
            case "toggle":
                self._switches.put(origin.key, _switch(origin.key, item))
            case "counter":
                self._counters.put(origin.key, transaction.learned(origin.key, item))

    def _forget(self, origins: Iterable[Origin]) -> None:
        for origin in origins:
            self._buckets.drop(origin.key)
            self._switches.drop(origin.key)

    def _remember(self, transaction: Transaction, items: Sequence[Any], origins: Sequence[Origin]) -> None:
        for key, bucket in transaction.buckets().items():
            if key in self._buckets:  # those of timelines are read anew each time
                self._buckets.put(key, replace(bucket, version=bucket.version + 1))
        for origin, item in zip(origins, items, strict=True):
            if origin.kind == "toggle":
                self._switches.put(origin.key, _switch(origin.key, item["Put"]["Item"]))

    def _remembered(self, key: Key) -> Remembered:
        return self._counters.get(key) or Remembered()


async def _answer(call: Awaitable[Any]) -> Any:
    """The answer of a read; AwayError where there is none now."""
    try:
        return await call
    except (ClientError, BotoCoreError, OSError) as error:
        raise AwayError(f"DynamoDB did not answer: {type(error).__name__}") from error


class _Lru(Generic[T]):
    """What was used last, bounded in number and, where values have a weight, in weight."""

    def __init__(
        self, capacity: int, max_weight: float = math.inf, weigh: Callable[[T], int] = lambda _: 0
    ) -> None:
        self._capacity = capacity
        self._max_weight = max_weight
        self._weigh = weigh
        self._weight = 0
        self._values: OrderedDict[Key, T] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._values

    def get(self, key: Key) -> T | None:
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: Key, value: T) -> T:
        self.drop(key)
        self._values[key] = value
        self._weight += self._weigh(value)
        while len(self._values) > self._capacity or self._weight > self._max_weight:
            self.drop(next(iter(self._values)))
        return value

    def drop(self, key: Key) -> None:
        value = self._values.pop(key, None)
        if value is not None:
            self._weight -= self._weigh(value)


def _bucket(key: Key, item: Item | None) -> Bucket:
    if item is None:
        return Bucket(split_sort_key(key[1])[1])
    return _bucket_of(from_item(item))


def _bucket_of(values: Mapping[str, Any]) -> Bucket:
    start_ms = split_sort_key(values["sk"])[1]
    state = values.get("state", b"")
    bucket = decode_bucket(start_ms, values["entries"], values["facts"], values["version"], state)
    bucket.due_at_ms = values.get("due_at_ms", 0)
    return bucket


def _switch(key: Key, item: Item | None) -> Switch:
    if item is None:
        return Switch()
    values = from_item(item)
    return Switch(values["at_ms"], values["event_id"], values["on"], values["version"])
