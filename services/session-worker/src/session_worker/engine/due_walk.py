"""Walks the ledger's due index in order of time, driven by the server's clock alone.

Guarantee: every entry is looked at once its time has come, also when nobody has walked for days: how far the
walk has come is a record, and what could not be finished holds it back. A lease keeps two workers from
walking the same shard at once; that saves work and is not what correctness hangs on.
"""

import uuid
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from kinstream import keys
from kinstream.dynamo import from_item, to_item, to_key
from kinstream.resources import INDEX_DUE, TABLE_LEDGER, TABLE_RECORDS, Names
from session_worker.engine.due_buckets import Row

LEASE_MS = 60_000
OVERLAP_MS = 60_000
"""The walk stays so far behind the clock, because an index learns of a write a moment later."""
PAGE_ROWS = 100


@dataclass(slots=True)
class _Shard:
    name: str
    finished: set[Row] = field(default_factory=set)
    """Rows that the record's time has not passed yet."""
    done_ms: int = 0
    is_mine_until_ms: int = 0


class DueWalk:
    """Hands the entries that are due to `look`, which answers those that it could not finish."""

    def __init__(
        self,
        dynamodb: Any,
        names: Names,
        processor: str,
        look: Callable[[Sequence[Row]], Awaitable[set[Row]]],
        now_ms: Callable[[], int],
    ) -> None:
        self._dynamodb = dynamodb
        self._ledger = names.of(TABLE_LEDGER)
        self._records = names.of(TABLE_RECORDS)
        self._look = look
        self._now_ms = now_ms
        self._owner = uuid.uuid4().hex
        self._shards = [
            _Shard(keys.ledger_due_shard(processor, number)) for number in range(keys.LEDGER_DUE_SHARDS)
        ]

    async def sweep(self, stopped: Callable[[], bool] = lambda: False) -> int:
        """Look at all that is due; how many entries were finished."""
        finished = 0
        for shard in self._shards:
            if not stopped():
                finished += await self._walk(shard, stopped)
        return finished

    async def _walk(self, shard: _Shard, stopped: Callable[[], bool]) -> int:
        now_ms = self._now_ms()
        if not await self._may_walk(shard, now_ms):
            return 0
        finished = 0
        held_back_ms = now_ms - OVERLAP_MS
        more: dict[str, Any] | None = {}
        while more is not None and not stopped():
            rows, more = await self._page(shard, now_ms, more)
            fresh = [row for row in rows if row not in shard.finished]
            if not fresh:
                continue
            if not await self._lease(shard, now_ms):
                return finished
            unfinished = await self._look(fresh)
            shard.finished |= set(fresh) - unfinished
            finished += len(fresh) - len(unfinished)
            held_back_ms = min([held_back_ms, *(row.due_at_ms - 1 for row in unfinished)])
            done_ms = min(held_back_ms, rows[-1].due_at_ms - 1) if more is not None else held_back_ms
            await self._advance(shard, done_ms)
        return finished

    async def _page(
        self, shard: _Shard, now_ms: int, start: dict[str, Any]
    ) -> tuple[list[Row], dict[str, Any] | None]:
        answer = await self._dynamodb.query(
            TableName=self._ledger,
            IndexName=INDEX_DUE,
            KeyConditionExpression="due_shard = :shard AND due_at_ms BETWEEN :after AND :now",
            ExpressionAttributeValues=to_item(
                {":shard": shard.name, ":after": shard.done_ms + 1, ":now": now_ms}
            ),
            Limit=PAGE_ROWS,
            **({"ExclusiveStartKey": start} if start else {}),
        )
        rows = [Row(item["pk"], item["sk"], item["due_at_ms"]) for item in map(from_item, answer["Items"])]
        return rows, answer.get("LastEvaluatedKey")

    async def _may_walk(self, shard: _Shard, now_ms: int) -> bool:
        """Whether nobody else walks the shard; takes over how far it has been walked."""
        if shard.is_mine_until_ms > now_ms:
            return True
        answer = await self._dynamodb.get_item(
            TableName=self._records, Key=to_key(keys.closing_progress(shard.name)), ConsistentRead=True
        )
        row = from_item(answer.get("Item", {}))
        self._passed(shard, row.get("done_ms", 0))
        return row.get("owner") in {None, self._owner} or bool(row["leased_until_ms"] <= now_ms)

    async def _lease(self, shard: _Shard, now_ms: int) -> bool:
        """Make the shard this worker's for a while; False where somebody else was first."""
        if shard.is_mine_until_ms > now_ms + LEASE_MS // 2:
            return True
        return await self._record(shard, now_ms, shard.done_ms)

    async def _advance(self, shard: _Shard, done_ms: int) -> None:
        # Written now and then: what is walked again is found to be done.
        if done_ms > shard.done_ms + LEASE_MS // 2 and await self._record(shard, self._now_ms(), done_ms):
            self._passed(shard, done_ms)

    async def _record(self, shard: _Shard, now_ms: int, done_ms: int) -> bool:
        until_ms = now_ms + LEASE_MS
        try:
            await self._dynamodb.update_item(
                TableName=self._records,
                Key=to_key(keys.closing_progress(shard.name)),
                UpdateExpression="SET #owner = :me, leased_until_ms = :until, done_ms = :done",
                ConditionExpression="attribute_not_exists(pk) OR #owner = :me OR leased_until_ms <= :now",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=to_item(
                    {":me": self._owner, ":until": until_ms, ":done": done_ms, ":now": now_ms}
                ),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                raise
            shard.is_mine_until_ms = 0
            return False
        shard.is_mine_until_ms = until_ms
        return True

    def _passed(self, shard: _Shard, done_ms: int) -> None:
        shard.done_ms = max(shard.done_ms, done_ms)
        shard.finished = {row for row in shard.finished if row.due_at_ms > shard.done_ms}
