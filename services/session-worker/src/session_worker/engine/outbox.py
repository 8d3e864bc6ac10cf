"""Sends what transactions left in the outbox.

Guarantee: everything that was committed is sent at least once, under its id: rows are found again through
the pending index until they are marked, whoever died in between.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from opentelemetry.trace import SpanKind

from kinstream import keys
from kinstream.dynamo import from_item, to_item, to_key
from kinstream.keys import Key
from kinstream.resources import INDEX_PENDING, Names
from kinstream.tracing import TRACEPARENT, carried, part
from session_worker.effects import Announce

log = logging.getLogger(__name__)

SENT_TTL_MS = 7 * 86_400_000
SETTLING_MS = 5_000
"""Rows younger than this are left to the worker that wrote them."""


class Outbox:
    """The announcements of one deployment."""

    def __init__(self, dynamodb: Any, sns: Any, names: Names, table: str, now_ms: Callable[[], int]) -> None:
        self._dynamodb = dynamodb
        self._sns = sns
        self._names = names
        self._table = table
        self._now_ms = now_ms

    async def send(self, announcements: Iterable[Announce]) -> None:
        """Send what was just committed; what fails stays for the sweep."""
        for announce in announcements:
            await self._send(keys.announcement(announce.app, announce.announcement_id))

    async def sweep(self) -> int:
        """Send every pending row that has settled; how many there were."""
        before_ms = self._now_ms() - SETTLING_MS
        sent = 0
        for shard in range(keys.PENDING_SHARDS):
            async for row in self._pending(str(shard), before_ms):
                sent += await self._send((row["pk"], row["sk"]))
        return sent

    async def _pending(self, shard: str, before_ms: int) -> AsyncIterator[dict[str, Any]]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": INDEX_PENDING,
            "KeyConditionExpression": "pending_shard = :shard AND created_at_ms < :before",
            "ExpressionAttributeValues": to_item({":shard": shard, ":before": before_ms}),
        }
        while True:
            page = await self._dynamodb.query(**query)
            for item in page["Items"]:
                yield from_item(item)
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    async def _send(self, key: Key) -> bool:
        """Send a row as it stands now, which the index may not know yet; False where that failed."""
        try:
            answer = await self._dynamodb.get_item(
                TableName=self._table, Key=to_key(key), ConsistentRead=True
            )
            if "Item" in answer:
                await self._publish(from_item(answer["Item"]))
        except (BotoCoreError, ClientError, OSError) as error:
            log.warning("announcement left for the next sweep", extra={"error": type(error).__name__})
            return False
        return True

    async def _publish(self, row: dict[str, Any]) -> None:
        if "pending_shard" not in row:
            return
        attributes = {"announcement_id": row["announcement_id"]}
        with part("announce", SpanKind.PRODUCER, topic=row["topic"]):
            if traceparent := carried():
                attributes[TRACEPARENT] = traceparent
            await self._sns.publish(
                TopicArn=self._names.topic_arn(row["topic"]),
                Message=row["body"],
                MessageAttributes={
                    name: {"DataType": "String", "StringValue": value} for name, value in attributes.items()
                },
            )
        await self._mark((row["pk"], row["sk"]))

    async def _mark(self, key: Key) -> None:
        await self._dynamodb.update_item(
            TableName=self._table,
            Key=to_key(key),
            UpdateExpression="REMOVE pending_shard SET sent_at_ms = :now, expires_at = :expires",
            ExpressionAttributeValues=to_item(
                {":now": self._now_ms(), ":expires": (self._now_ms() + SENT_TTL_MS) // 1000}
            ),
        )
