"""From a run's output in S3 to what is served: lists first, the pointer last.

Until the pointer moves, customers are served the version before; after it, the new one, whole. Safe to
repeat at any point: the same lists are written under the same run again.
"""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.exceptions import ClientError

from kinstream import keys
from kinstream.dynamo import from_item, to_item, to_key
from kinstream.errors import PermanentError, RetryableError
from kinstream.resources import BUCKET_TRAINING, TABLE_RECOMMENDATIONS, Names
from kinstream.versions import LIST_TTL_MS, MANIFEST, REPORT, guard, row_of, versions_of
from recommender_trigger.cost import Charge, charges, total_usd, write_units
from recommender_trigger.domain.runs import Run
from recommender_trigger.report import page
from recommender_trigger.run_store import LeaseLostError, RunStore, is_refused
from recommender_trigger.storage import keys_under, read_object

log = logging.getLogger(__name__)

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
    recipe: str | None = None


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
    usd: float | None
    """About what the run cost, to here; None where nobody knows."""


class Publisher:
    """Publishes the output of runs."""

    def __init__(self, dynamodb: Any, s3: Any, names: Names, store: RunStore, machines: int = 0) -> None:
        """`machines`: how many a cluster of EMR has, for the report's estimate of the cost."""
        self._dynamodb = dynamodb
        self._s3 = s3
        self._table = names.of(TABLE_RECOMMENDATIONS)
        self._bucket = names.of(BUCKET_TRAINING)
        self._store = store
        self._machines = machines

    async def publish(self, run: Run, now_ms: int) -> Outcome:
        """Write all lists and move the pointer; nothing at all where the gate says no.

        PermanentError where the output is not whole; LeaseLostError where the run is somebody else's.
        """
        raw = await read_object(self._s3, self._bucket, f"{run.folder}{MANIFEST}")
        manifest = _manifest(run, raw)
        if not manifest.gate.publish:
            costs = self._costs(run, now_ms, 0)
            await self._report(run, raw, costs)
            return Outcome(False, manifest.gate.reason, total_usd(costs))
        written, units = await self._write_lists(run, (now_ms + LIST_TTL_MS) // 1000)
        if written != manifest.recommendations.customers or not written:
            expected = manifest.recommendations.customers
            raise PermanentError(f"the run's output holds {written} lists, its manifest says {expected}")
        await self._flip(run, now_ms, manifest.recipe)
        costs = self._costs(run, now_ms, units)
        await self._report(run, raw, costs)
        return Outcome(True, manifest.gate.reason, total_usd(costs))

    def _costs(self, run: Run, now_ms: int, units: int) -> Sequence[Charge]:
        return charges(
            run.launcher,
            machines=self._machines,
            run_ms=now_ms - run.launched_at_ms,
            usage=run.usage,
            written_units=units,
        )

    async def _report(self, run: Run, raw: bytes, costs: Sequence[Charge]) -> None:
        """For people, best effort: nothing that is served waits for it."""
        try:
            await self._write_report(run, raw, costs)
        except Exception:
            log.exception("report not written", extra={"app": run.app, "run_id": run.run_id})

    async def _write_report(self, run: Run, raw: bytes, costs: Sequence[Charge]) -> None:
        body = page(run, msgspec.json.decode(raw), costs).encode()
        await self._s3.put_object(
            Bucket=self._bucket,
            Key=f"{run.folder}{REPORT}",
            Body=body,
            ContentType="text/html; charset=utf-8",
        )

    async def _write_lists(self, run: Run, expires_at: int) -> tuple[int, int]:
        """(customers whose list DynamoDB has confirmed, write units that they took, about)."""
        seen: set[str] = set()
        units = 0
        wave: list[list[dict[str, Any]]] = [[]]
        async for line_bytes, customer in self._lists(run):
            if customer.customer_id in seen:
                raise PermanentError("the run's output names a customer twice")
            seen.add(customer.customer_id)
            if len(wave[-1]) == _BATCH:
                if len(wave) == _PARALLEL_BATCHES:
                    await asyncio.gather(*map(self._write, wave))
                    wave = []
                wave.append([])
            wave[-1].append(_put(run, customer, expires_at))
            units += write_units(line_bytes)
        await asyncio.gather(*(self._write(batch) for batch in wave if batch))
        return len(seen), units

    async def _lists(self, run: Run) -> AsyncIterator[tuple[int, CustomerList]]:
        decode = msgspec.json.Decoder(CustomerList).decode
        async for key in keys_under(self._s3, self._bucket, f"{run.folder}recommendations/part-"):
            body = await read_object(self._s3, self._bucket, key)
            for line in body.splitlines():
                try:
                    yield len(line), decode(line)
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

    async def _flip(self, run: Run, now_ms: int, recipe: str | None) -> None:
        key = keys.recommendation_pointer(run.app)
        while True:
            answer = await self._dynamodb.get_item(
                TableName=self._table, Key=to_key(key), ConsistentRead=True
            )
            seen = versions_of(from_item(answer.get("Item", {})))
            row = row_of(seen.published(run.run_id, now_ms, run.launched_at_ms, recipe))
            put = {"TableName": self._table, "Item": to_key(key) | to_item(row), **guard(seen)}
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
                # An operator has changed it since it was read.
            else:
                return


def _manifest(run: Run, raw: bytes) -> Manifest:
    """The run's manifest; PermanentError where it cannot be trusted."""
    try:
        manifest = msgspec.json.decode(raw, type=Manifest)
    except msgspec.MsgspecError as error:
        raise PermanentError(f"the run's manifest cannot be read: {error}") from error
    if manifest.format != 1 or manifest.run_id != run.run_id:
        raise PermanentError("the manifest is of another format or another run")
    return manifest


def _put(run: Run, customer: CustomerList, expires_at: int) -> dict[str, Any]:
    pk, sk = keys.recommendations(run.app, customer.customer_id, run.run_id)
    item = {
        "pk": pk,
        "sk": sk,
        "app": run.app,
        "customer_id": customer.customer_id,
        "run_id": run.run_id,
        "as_of_ms": run.launched_at_ms,
        "items": msgspec.to_builtins(customer.items),
        "expires_at": expires_at,
    }
    return {"PutRequest": {"Item": to_item(item)}}
