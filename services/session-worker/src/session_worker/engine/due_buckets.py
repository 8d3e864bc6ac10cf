"""Ledger buckets that a view must look at, read with what surrounds them, changed if nobody else did."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from botocore.exceptions import ClientError

from kinstream.dynamo import from_item, to_item
from kinstream.ledger_format import Bucket, bucket_start_ms, decode_bucket, split_key, split_sort_key
from kinstream.views.closing import Closing, decode_closings, encode_closings, runs_of
from kinstream.views.sessions import GAP_MS, MAX_SESSION_MS, Moment, moments_in

BUCKET_SECONDS = 3_600
BUCKET_MS = BUCKET_SECONDS * 1000


class Conflict(Exception):  # noqa: N818 - it is no fault
    """Somebody else wrote the bucket, or is about to: look again later."""


class Whose(NamedTuple):
    """Whose sessions a row is about."""

    app: str
    customer_id: str
    device_id: str


class Row(NamedTuple):
    """An entry of the ledger's due index."""

    pk: str
    sk: str
    due_at_ms: int

    @property
    def series(self) -> str:
        """The part of the sort key that all buckets of the device share."""
        return self.sk.rpartition("@")[0]

    @property
    def start_ms(self) -> int:
        """Start of the bucket."""
        return split_sort_key(self.sk)[1]

    @property
    def whose(self) -> Whose:
        """Whose bucket it is."""
        app, _, customer_id = split_key(self.pk)
        (device_id,), _ = split_sort_key(self.sk)
        return Whose(app, customer_id, device_id)


@dataclass(slots=True)
class Stretch:
    """Buckets of one device in a range of time, by their start."""

    low_ms: int
    high_ms: int
    buckets: dict[int, Bucket] = field(default_factory=dict)

    def closings(self) -> dict[int, Closing]:
        """What was announced, by start."""
        stored = (decode_closings(bucket.state) for bucket in self.buckets.values())
        return {closing.started_ms: closing for closings in stored for closing in closings}

    def moments(self) -> list[Moment]:
        """Active events in order."""
        return [moment for start_ms in sorted(self.buckets) for moment in moments_in(self.buckets[start_ms])]

    def missing(self, row: Row) -> tuple[int, int] | None:
        """A range of time that is not read yet, into which runs of events in the row's bucket may reach."""
        end_ms = row.start_ms + BUCKET_MS
        # Twice as far each time: a run may go on for weeks.
        further_ms = max(MAX_SESSION_MS, self.high_ms - self.low_ms)
        for run in runs_of(self.moments()):
            if run[0].time_ms >= end_ms or run[-1].time_ms < row.start_ms:
                continue
            if run[0].time_ms - GAP_MS < self.low_ms:
                return self.low_ms - further_ms, self.low_ms
            if run[-1].time_ms + GAP_MS >= self.high_ms:
                return self.high_ms, self.high_ms + further_ms
        return None


class DueBuckets:
    """The buckets of one processor's ledger."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def stretch(self, row: Row, now_ms: int) -> Stretch:
        """The row's bucket, and all that its runs of events reach into. Strongly consistent."""
        low_ms, high_ms = row.start_ms - BUCKET_MS, row.start_ms + 2 * BUCKET_MS
        found = Stretch(low_ms, high_ms, await self._read(row, low_ms, high_ms, now_ms))
        while missing := found.missing(row):
            low_ms, high_ms = missing
            found.buckets |= await self._read(row, low_ms, high_ms, now_ms)
            found.low_ms, found.high_ms = min(found.low_ms, low_ms), max(found.high_ms, high_ms)
        return found

    async def bucket(self, row: Row, time_ms: int) -> Bucket:
        """The bucket of the row's device that a time falls into. Conflict where it has expired."""
        start_ms = bucket_start_ms(time_ms, BUCKET_SECONDS)
        found = await self._read(row, start_ms, start_ms + BUCKET_MS, now_ms=0)
        if start_ms not in found:
            raise Conflict
        return found[start_ms]

    async def write(self, row: Row, bucket: Bucket, closings: Iterable[Closing], due_at_ms: int = 0) -> None:
        """Put closings in the place of those of the same start, and set when to look again.

        Conflict where the bucket is not as it was read.
        """
        state = {closing.started_ms: closing for closing in decode_closings(bucket.state)}
        state |= {closing.started_ms: closing for closing in closings}
        values: dict[str, Any] = {":version": bucket.version, ":next": bucket.version + 1}
        sets = ["#version = :next"]
        names = {"#version": "version"}
        if state:
            sets.append("#state = :state")
            names["#state"] = "state"
            values[":state"] = encode_closings(state.values())
        if due_at_ms:
            sets.append("due_at_ms = :due")
            values[":due"] = due_at_ms
        try:
            await self._dynamodb.update_item(
                TableName=self._table,
                Key=to_item({"pk": row.pk, "sk": _sort_key(row, bucket.start_ms)}),
                UpdateExpression=f"SET {', '.join(sets)}",
                ConditionExpression="#version = :version",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=to_item(values),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] in {
                "ConditionalCheckFailedException",
                "TransactionConflictException",
            }:
                raise Conflict from error
            raise

    async def _read(self, row: Row, low_ms: int, high_ms: int, now_ms: int) -> dict[int, Bucket]:
        found: dict[int, Bucket] = {}
        more: dict[str, Any] = {}
        values = {
            ":pk": row.pk,
            ":low": _sort_key(row, max(0, low_ms)),
            ":high": _sort_key(row, high_ms - BUCKET_MS),
        }
        while True:
            answer = await self._dynamodb.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND sk BETWEEN :low AND :high",
                ExpressionAttributeValues=to_item(values),
                ConsistentRead=True,
                **more,
            )
            for item in map(from_item, answer["Items"]):
                # DynamoDB deletes what has run out within days, not at once.
                if item["expires_at"] * 1000 > now_ms:
                    bucket = _bucket(item)
                    found[bucket.start_ms] = bucket
            if "LastEvaluatedKey" not in answer:
                return found
            more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}


def _sort_key(row: Row, start_ms: int) -> str:
    return f"{row.series}@{start_ms // 1000:011d}"


def _bucket(item: Mapping[str, Any]) -> Bucket:
    _, start_ms = split_sort_key(item["sk"])
    bucket = decode_bucket(start_ms, item["entries"], item["facts"], item["version"], item.get("state", b""))
    bucket.due_at_ms = item.get("due_at_ms", 0)
    return bucket
