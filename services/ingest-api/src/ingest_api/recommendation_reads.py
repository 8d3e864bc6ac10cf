"""What recommendations are made of, out of DynamoDB: the pointer, a customer's lists, what was seen since."""

import logging
from collections.abc import Callable
from typing import Any

from ingest_api.reads import Row, answering, has_expired
from kinstream import keys
from kinstream.dynamo import from_item, to_item, to_key
from kinstream.ledger_format import decode_bucket, join_key, partition_key, split_sort_key
from kinstream.resources import TABLE_LEDGER, TABLE_RECOMMENDATIONS, Names
from kinstream.versions import Serving, Versions, versions_of

log = logging.getLogger(__name__)

_LISTS = 8
"""Runs that failed half-way and those that were taken back may lie before the list that is served."""
_BUCKETS, _MORE_BUCKETS = 8, 64
"""Of a first query, which is enough for most, and of one that follows."""
_MOST_QUERIES = 12
"""Of one customer's ledger: an answer takes a bounded time, whatever the customer's devices do."""
_HOUR_MS = 3_600_000
LATE_MS = 6 * _HOUR_MS
"""What came to the archive too late for a run is looked for so far back before it."""


class RecommendationReads:
    """The pointer is remembered for some seconds; the rest is read each time, strongly consistent."""

    def __init__(
        self, dynamodb: Any, names: Names, pointer_cache_seconds: float, now_ms: Callable[[], int]
    ) -> None:
        self._dynamodb = dynamodb
        self._lists = names.of(TABLE_RECOMMENDATIONS)
        self._ledger = names.of(TABLE_LEDGER)
        self._pointer_ms = int(pointer_cache_seconds * 1000)
        self._now_ms = now_ms
        self._known: dict[str, tuple[int, Versions]] = {}

    async def versions(self, app: str) -> Versions:
        """What the app serves, as it was at most so many seconds ago; of an app without any, as it is."""
        now_ms = self._now_ms()
        read_at_ms, known = self._known.get(app, (0, None))
        if known and 0 <= now_ms - read_at_ms < self._pointer_ms:
            return known
        async with answering():
            answer = await self._dynamodb.get_item(
                TableName=self._lists, Key=to_key(keys.recommendation_pointer(app)), ConsistentRead=True
            )
        versions = versions_of(from_item(answer.get("Item", {})))
        # The first version of an app is served at once.
        if versions.good:
            self._known[app] = now_ms, versions
        return versions

    async def list_of(self, app: str, customer_id: str, serving: Serving, now_ms: int) -> Row | None:
        """The customer's list of the version that is served, or of its last good one; None where none is.

        One read: a customer's lists lie together in the order of their runs.
        """
        if serving.version is None:
            return None
        partition, newest = keys.recommendations(app, customer_id, serving.version.run_id)
        async with answering():
            answer = await self._dynamodb.query(
                TableName=self._lists,
                KeyConditionExpression="pk = :pk AND sk <= :newest",
                ExpressionAttributeValues=to_item({":pk": partition, ":newest": newest}),
                ScanIndexForward=False,
                Limit=_LISTS,
                ConsistentRead=True,
            )
        # Runs that never became a version, and versions that were taken back, may lie among them.
        wanted = {serving.version.run_id, *serving.stand_ins}
        rows = (from_item(item) for item in answer["Items"] if item["run_id"]["S"] in wanted)
        # DynamoDB deletes what has run out within days, not at once.
        return next((row for row in rows if row["items"] and not has_expired(row, now_ms)), None)

    async def contents_since(self, app: str, customer_id: str, since_ms: int) -> set[str]:
        """Contents that the customer's events have named since a run, or not long before it: of those of the
        six hours before, some may have come too late for it. Give or take an hour.

        From the ledger of the processor `activity`, backwards from its end: of each device its newest
        buckets, then on to the device before it.
        """
        partition = partition_key(app, "activity", [customer_id])
        oldest_ms = (since_ms - LATE_MS) // _HOUR_MS * _HOUR_MS
        condition, values = "pk = :pk", {":pk": partition}
        found: set[str] = set()
        for number in range(_MOST_QUERIES):
            async with answering():
                answer = await self._dynamodb.query(
                    TableName=self._ledger,
                    KeyConditionExpression=condition,
                    ExpressionAttributeValues=to_item(values),
                    ScanIndexForward=False,
                    Limit=_MORE_BUCKETS if number else _BUCKETS,
                    ConsistentRead=True,
                )
            passed: str | None = None
            for item in answer["Items"]:
                (device,), start_ms = split_sort_key(item["sk"]["S"])
                if start_ms >= oldest_ms:
                    found |= _contents(from_item(item), start_ms)
                    passed = None
                else:
                    passed = device
            if "LastEvaluatedKey" not in answer:
                break
            condition = "pk = :pk AND sk < :before"
            # All of a device's buckets lie behind its name and @.
            before = answer["LastEvaluatedKey"]["sk"]["S"] if passed is None else f"{join_key(passed)}@"
            values = {":pk": partition, ":before": before}
        else:
            log.warning("of a customer with very many devices or hours, not all were looked at")
        return found


def _contents(row: Row, start_ms: int) -> set[str]:
    """Contents in a bucket's facts, which are (activity, content or "")."""
    bucket = decode_bucket(start_ms, row["entries"], row["facts"], row["version"])
    return {str(fact[1]) for fact in bucket.facts.values() if len(fact) > 1 and fact[1]}
