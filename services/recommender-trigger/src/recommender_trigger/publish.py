"""From a run's output in S3 to what is served: lists first, the pointer last.

Until the pointer moves, customers are served the version before; after it, the new one, whole. Safe to
repeat at any point: the same lists are written under the same run again.
"""

import asyncio
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from kinstream import keys
from kinstream.dynamo import to_item
from kinstream.errors import PermanentError, RetryableError
from kinstream.resources import BUCKET_TRAINING, TABLE_RECOMMENDATIONS, Names
from recommender_trigger.domain.runs import Run
from recommender_trigger.run_store import LeaseLostError, RunStore, is_refused
from recommender_trigger.storage import keys_under, read_object

LIST_TTL_SECONDS = 14 * 86_400
_BATCH = 25
_PARALLEL_BATCHES = 8
_UNPROCESSED_ATTEMPTS = 10


class Gate(msgspec.Struct, frozen=True):
    """What the job says of its own model."""

    publish: bool
    reason: str


class Written(msgspec.Struct, frozen=True):
    """How much the job wrote."""

    customers: int


class Manifest(msgspec.Struct, frozen=True):
    """What the trigger reads of a run's manifest; the job writes more into it, for people."""

    format: int
    run_id: str
    gate: Gate
    recommendations: Written


class Recommended(msgspec.Struct, frozen=True):
    """One content of a list."""

    content_id: str
    score: float
    because: list[str]


class CustomerList(msgspec.Struct, frozen=True):
    """A line of the job's output."""

    customer_id: str
    items: list[Recommended]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Whether a new version is served now, and why."""

    published: bool
    reason: str


class Publisher:
    """Publishes the output of runs."""

    def __init__(self, dynamodb: Any, s3: Any, names: Names, store: RunStore) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._table = names.of(TABLE_RECOMMENDATIONS)
        self._bucket = names.of(BUCKET_TRAINING)
        self._store = store

    async def publish(self, run: Run, now_ms: int) -> Outcome:
        """Write all lists and move the pointer; nothing at all where the gate says no.

        PermanentError where the output is not whole; LeaseLostError where the run is somebody else's.
        """
        manifest = await self.manifest(run)
        if not manifest.gate.publish:
            return Outcome(False, manifest.gate.reason)
        written = await self._write_lists(run, now_ms // 1000 + LIST_TTL_SECONDS)
        if written != manifest.recommendations.customers or not written:
            expected = manifest.recommendations.customers
            raise PermanentError(f"the run's output holds {written} lists, its manifest says {expected}")
        await self._flip(run, now_ms)
        return Outcome(True, manifest.gate.reason)

    async def manifest(self, run: Run) -> Manifest:
        """The run's manifest; PermanentError where there is none that can be trusted."""
        raw = await read_object(self._s3, self._bucket, f"{run.folder}manifest.json")
        try:
            manifest = msgspec.json.decode(raw, type=Manifest)
        except msgspec.MsgspecError as error:
            raise PermanentError(f"the run's manifest cannot be read: {error}") from error
        if manifest.format != 1 or manifest.run_id != run.run_id:
            raise PermanentError("the manifest is of another format or another run")
        return manifest

    async def _write_lists(self, run: Run, expires_at: int) -> int:
        """Number of customers whose list DynamoDB has confirmed."""
        seen: set[str] = set()
        wave: list[list[dict[str, Any]]] = [[]]
        async for customer in self._lists(run):
            if customer.customer_id in seen:
                raise PermanentError("the run's output names a customer twice")
            seen.add(customer.customer_id)
            if len(wave[-1]) == _BATCH:
                if len(wave) == _PARALLEL_BATCHES:
                    await asyncio.gather(*map(self._write, wave))
                    wave = []
                wave.append([])
            wave[-1].append(_put(run, customer, expires_at))
        await asyncio.gather(*(self._write(batch) for batch in wave if batch))
        return len(seen)

    async def _lists(self, run: Run) -> AsyncIterator[CustomerList]:
        decode = msgspec.json.Decoder(CustomerList).decode
        async for key in keys_under(self._s3, self._bucket, f"{run.folder}recommendations/part-"):
            body = await read_object(self._s3, self._bucket, key)
            for line in body.splitlines():
                try:
                    yield decode(line)
                except msgspec.MsgspecError as error:
                    raise PermanentError(f"a line of the run's output cannot be read: {error}") from error

    async def _write(self, batch: list[dict[str, Any]]) -> None:
        left = {self._table: batch}
        for attempt in range(_UNPROCESSED_ATTEMPTS):
            answer = await self._dynamodb.batch_write_item(RequestItems=left)
            left = answer.get("UnprocessedItems") or {}
            if not left:
                return
            await asyncio.sleep(random.uniform(0, min(5.0, 0.05 * 2**attempt)))
        raise RetryableError("DynamoDB leaves items unprocessed; the table's write capacity is too small")

    async def _flip(self, run: Run, now_ms: int) -> None:
        pk, sk = keys.recommendation_pointer(run.app)
        pointer = {"pk": pk, "sk": sk, "run_id": run.run_id, "published_at_ms": now_ms}
        put = {
            "TableName": self._table,
            "Item": to_item(pointer),
            # Run ids sort by time: whatever happens, an older run never replaces a newer one.
            "ConditionExpression": "attribute_not_exists(pk) OR run_id <= :run",
            "ExpressionAttributeValues": to_item({":run": run.run_id}),
        }
        try:
            await self._dynamodb.transact_write_items(
                TransactItems=[self._store.lock_check(run), {"Put": put}]
            )
        except ClientError as error:
            if not is_refused(error):
                raise
            lease, _ = error.response["CancellationReasons"]
            if lease.get("Code") == "ConditionalCheckFailed":
                raise LeaseLostError(run.run_id) from error
            raise PermanentError("a newer run is served already") from error


def _put(run: Run, customer: CustomerList, expires_at: int) -> dict[str, Any]:
    pk, sk = keys.recommendations(run.app, customer.customer_id, run.run_id)
    item = {
        "pk": pk,
        "sk": sk,
        "app": run.app,
        "customer_id": customer.customer_id,
        "run_id": run.run_id,
        "items": msgspec.to_builtins(customer.items),
        "expires_at": expires_at,
    }
    return {"PutRequest": {"Item": to_item(item)}}
