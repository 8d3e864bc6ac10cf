"""What the API reads and writes in DynamoDB, strongly consistent wherever a table is read."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from botocore.exceptions import BotoCoreError, ClientError

from ingest_api.errors import unavailable
from kinstream import keys
from kinstream.clock import now_ms
from kinstream.dynamo import from_item, to_item, to_key
from kinstream.errors import RetryableError
from kinstream.generations import GenerationsReader, space
from kinstream.ledger_format import split_key
from kinstream.registry import ApiKey
from kinstream.resources import (
    INDEX_TREND,
    TABLE_COUNTERS,
    TABLE_RECORDS,
    TABLE_REGISTRY,
    Names,
)
from kinstream.views import trending

Row = dict[str, Any]


class Page(NamedTuple):
    """Rows, and the sort key to go on after, or None where there are no more."""

    rows: list[Row]
    last_sort_key: str | None


@asynccontextmanager
async def answering() -> AsyncIterator[None]:
    """Turn what goes wrong between here and AWS into 503, but let out what would go wrong every time."""
    try:
        yield
    except (BotoCoreError, ClientError, OSError, RetryableError) as error:
        if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ValidationException":
            raise
        raise unavailable("the data cannot be read or written now; send the request again") from error


class Tables:
    """The tables but the ledger, by what the API asks of them."""

    def __init__(self, dynamodb: Any, names: Names) -> None:
        self._dynamodb = dynamodb
        self._names = names
        self._generations = GenerationsReader(dynamodb, names.of(TABLE_REGISTRY), now_ms)

    async def has_key(self, key: ApiKey) -> bool:
        """Whether an API key is known and has not been revoked."""
        row = await self._get(TABLE_REGISTRY, keys.api_key(key.app, key.hash))
        return row is not None and row.get("revoked_at_ms") is None and row.get("kind") == key.kind

    async def customer_counters(self, app: str, customer_id: str) -> Row:
        """A customer's counters, empty where there are none."""
        return await self._get(TABLE_COUNTERS, keys.customer_counters(app, customer_id)) or {}

    async def content_slots(self, app: str, content_id: str) -> list[Row]:
        """The rows that a content's counters are spread over."""
        table = self._names.of(TABLE_COUNTERS)
        served = await self._space_of_contents(app)
        slots = [keys.content_counters(served, content_id, slot) for slot in range(keys.CONTENT_SLOTS)]
        asked: Any = {table: {"Keys": [to_key(key) for key in slots], "ConsistentRead": True}}
        rows: list[Row] = []
        async with answering():
            while asked:
                answer = await self._dynamodb.batch_get_item(RequestItems=asked)
                rows += map(from_item, answer["Responses"].get(table, []))
                asked = answer.get("UnprocessedKeys")
        return rows

    async def trending_scores(self, app: str, now_ms: int, most: int) -> list[tuple[str, float]]:
        """(content, score at `now_ms`) of the best in each partition of the trend index."""
        scored = []
        for shard, year in trending.partitions(await self._space_of_contents(app), now_ms):
            page = await self._query(
                TABLE_COUNTERS,
                "trend_shard = :shard",
                {":shard": shard},
                IndexName=INDEX_TREND,
                ScanIndexForward=False,
                Limit=most,
            )
            for row in page.rows:
                (content_id,) = split_key(row["sk"])
                scored.append((content_id, trending.current_score(row["trend"], year, now_ms)))
        return scored

    async def alerts(self, app: str, customer_id: str, limit: int, after: str | None) -> Page:
        """Alerts, newest first."""
        partition, _ = keys.alert(app, customer_id, "")
        return await self._partition(TABLE_RECORDS, partition, limit, after, newest_first=True)

    async def acknowledge(self, app: str, customer_id: str, alert_id: str, by: str) -> Row | None:
        """The alert, acknowledged; None where there is none. Whoever was first stays."""
        key = keys.alert(app, customer_id, alert_id)
        async with answering():
            try:
                answer = await self._dynamodb.update_item(
                    TableName=self._names.of(TABLE_RECORDS),
                    Key=to_key(key),
                    UpdateExpression="SET acknowledged_by = :by",
                    ConditionExpression="attribute_exists(pk) AND (attribute_not_exists(acknowledged_by)"
                    " OR attribute_type(acknowledged_by, :null))",
                    ExpressionAttributeValues={":by": {"S": by}, ":null": {"S": "NULL"}},
                    ReturnValues="ALL_NEW",
                )
            except ClientError as error:
                if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
                    raise
                return await self._get(TABLE_RECORDS, key)
        return from_item(answer["Attributes"])

    async def place(self, app: str, customer_id: str, place_id: str) -> Row | None:
        """One known place."""
        return await self._get(TABLE_REGISTRY, keys.place(app, customer_id, place_id))

    async def places(self, app: str, customer_id: str, limit: int, after: str | None) -> Page:
        """Known places in order of their ids."""
        partition, _ = keys.place(app, customer_id, "")
        return await self._partition(TABLE_REGISTRY, partition, limit, after)

    async def put_place(self, app: str, customer_id: str, row: Row) -> None:
        """Write a place; the same again changes nothing."""
        await self._put(TABLE_REGISTRY, keys.place(app, customer_id, row["place_id"]), row)

    async def delete_place(self, app: str, customer_id: str, place_id: str) -> bool:
        """Delete a place; False where there was none."""
        async with answering():
            answer = await self._dynamodb.delete_item(
                TableName=self._names.of(TABLE_REGISTRY),
                Key=to_key(keys.place(app, customer_id, place_id)),
                ReturnValues="ALL_OLD",
            )
        return bool(answer.get("Attributes"))

    async def person(self, app: str, customer_id: str, person_id: str) -> Row | None:
        """One member of the family."""
        return await self._get(TABLE_REGISTRY, keys.person(app, customer_id, person_id))

    async def put_person(self, app: str, customer_id: str, row: Row) -> None:
        """Write a person; the same again changes nothing."""
        await self._put(TABLE_REGISTRY, keys.person(app, customer_id, row["person_id"]), row)

    async def _space_of_contents(self, app: str) -> str:
        """Where the generation of the processor `content` lies that is served."""
        async with answering():
            return space(app, (await self._generations.of("content")).served)

    async def _get(self, table: str, key: keys.Key) -> Row | None:
        async with answering():
            answer = await self._dynamodb.get_item(
                TableName=self._names.of(table), Key=to_key(key), ConsistentRead=True
            )
        return from_item(answer["Item"]) if "Item" in answer else None

    async def _put(self, table: str, key: keys.Key, row: Row) -> None:
        async with answering():
            await self._dynamodb.put_item(TableName=self._names.of(table), Item=to_key(key) | to_item(row))

    async def _partition(
        self, table: str, partition: str, limit: int, after: str | None, *, newest_first: bool = False
    ) -> Page:
        condition, values = "pk = :pk", {":pk": partition}
        if after is not None:
            condition += " AND sk < :after" if newest_first else " AND sk > :after"
            values[":after"] = after
        return await self._query(
            table, condition, values, ConsistentRead=True, ScanIndexForward=not newest_first, Limit=limit
        )

    async def _query(self, table: str, condition: str, values: Row, **options: Any) -> Page:
        async with answering():
            answer = await self._dynamodb.query(
                TableName=self._names.of(table),
                KeyConditionExpression=condition,
                ExpressionAttributeValues=to_item(values),
                **options,
            )
        more = answer.get("LastEvaluatedKey")
        return Page([from_item(item) for item in answer["Items"]], more["sk"]["S"] if more else None)


def has_expired(row: Row, now_ms: int) -> bool:
    """Whether a row's time to live has passed, though DynamoDB may still hold it."""
    return "expires_at" in row and row["expires_at"] * 1000 <= now_ms
