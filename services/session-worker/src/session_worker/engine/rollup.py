"""Adds the journal to the counters of contents, and of whatever else many customers share.

A transaction leaves its increments of such counters as one entry of a journal: one write instead of one a
counter. Every few seconds the entries of a slot are made a batch, added up, and each counter is written once,
however many entries touch it.

Guarantee: each entry is added exactly once, whoever dies and however many workers are at it. A batch has a
number and a list of entries that never changes, and is followed by the next one only when it is done. A
counter remembers the number of the last batch that is in it and takes none twice; entries are removed only
when every counter has taken the batch. So a batch can be worked on again from its beginning, by anybody,
at any time.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from botocore.exceptions import ClientError
from opentelemetry import metrics

from kinstream import keys
from kinstream.dynamo import attribute, from_item, to_item, to_key
from kinstream.dynamodb_http import THROTTLED
from kinstream.errors import RetryableError
from kinstream.keys import Key
from session_worker.domain.sums import Sums, add_up, written_down
from session_worker.engine.requests import Update
from session_worker.engine.worker import AWAY

log = logging.getLogger(__name__)

T = TypeVar("T")

LEFT_BEHIND_INTERVALS = 10
"""Entries that are so old, and batches, have nobody who looks after them."""

MOST_ENTRIES_OF_A_PART = 1_000
_CLOCKS_DIFFER_MS = 60_000
"""By so much at most; an entry that seems to be of later still waits for its time."""

_MOST_CALLS = 16
_MOST_DELETES = 25
_ATTEMPTS = 6
_REFUSED = "ValidationException"
_BUSY = THROTTLED | {"TransactionConflictException"}


class Batch(NamedTuple):
    """A slot's batch as stored; number 0: none yet."""

    batch_number: int = 0
    entry_keys: str = ""
    """Sort keys of its entries, with blanks between."""
    is_done: bool = True
    worker: str = ""
    made_at_ms: int = 0


class RollUp:
    """Looks after the journal of one slot, and after what others have left behind.

    `worker` is a name that no other worker has, `interval_seconds` how often `run` is called.
    """

    def __init__(
        self,
        client: Any,
        table: str,
        slot: int,
        *,
        worker: str,
        interval_seconds: float,
        now_ms: Callable[[], int],
    ) -> None:
        self._client = client
        self._table = table
        self._slot = slot
        self._worker = worker
        self._now_ms = now_ms
        self.sweep_seconds = interval_seconds * LEFT_BEHIND_INTERVALS
        self._left_behind_ms = round(self.sweep_seconds * 1000)
        self._taken: dict[int, tuple[int, set[str]]] = {}
        """By slot, the number of an undone batch and the counters that are known to have taken it."""
        self._waiting_since_ms = {slot: now_ms()}
        """By slot, a time from before which nothing waits to be added."""
        # By this name and the meter's an alarm knows it: infra/terraform/modules/observability.
        self._age = metrics.get_meter("kinstream").create_gauge(
            "kinstream.journal.age", unit="s", description="How long an entry may have waited to be added"
        )

    @property
    def age_seconds(self) -> float:
        """How long an entry may have waited by now.

        Counted from the oldest that is known of, or from the last look that found none: where looking fails,
        it grows as well.
        """
        return (self._now_ms() - min(self._waiting_since_ms.values())) / 1000

    async def run(self) -> None:
        """Add what is in the journal of this worker's slot; tell its age, however that ends."""
        try:
            while await self._roll(self._slot, self._now_ms() + _CLOCKS_DIFFER_MS):
                pass
        finally:
            self._age.set(self.age_seconds)

    async def sweep(self) -> None:
        """Add what has been left in the journals of other slots; to be called every `sweep_seconds`.

        One batch of each at most: a slot that is full or fails keeps nobody from the next.
        """
        failed: Exception | None = None
        for slot in range(keys.CONTENT_SLOTS):
            if slot != self._slot:
                try:
                    await self._roll(slot, self._now_ms() - self._left_behind_ms)
                except AWAY as error:
                    failed = error
        if failed:
            raise failed

    async def _roll(self, slot: int, before_ms: int) -> bool:
        """Add one batch of entries from before a time; whether there is another one to be added at once."""
        looked_at_ms = self._now_ms()
        batch = await self._batch(slot)
        is_full = True
        if batch.is_done:
            entries, is_full = await self._oldest(slot, before_ms)
            self._note(slot, entries, looked_at_ms)
            entry_keys = " ".join(entries)
            batch = Batch(batch.batch_number + 1, entry_keys, False, self._worker, self._now_ms())
            if not entries or not await self._make(slot, batch):
                return False
        else:
            self._note(slot, batch.entry_keys.split(), looked_at_ms)
            if not await self._take_up(slot, batch):
                return False
            entries = await self._entries(slot, batch)
        # One that is missing was removed, and none is before all counters have taken the batch.
        if len(entries) == len(batch.entry_keys.split()):
            await self._add_all(slot, add_up(entries.values()), batch.batch_number)
        await self._remove(slot, batch)
        await self._finish(slot, batch)
        self._taken.pop(slot, None)
        if not is_full:
            self._note(slot, (), looked_at_ms)
        return is_full

    def _note(self, slot: int, waiting: Iterable[str], looked_at_ms: int) -> None:
        """Note which entries, by their sort keys, wait in a slot."""
        made_at_ms = (int(name.partition("-")[0]) for name in waiting)
        self._waiting_since_ms[slot] = min(made_at_ms, default=looked_at_ms)

    async def _batch(self, slot: int) -> Batch:
        values = await self._item(keys.journal_batch(slot))
        return Batch(*(values[name] for name in Batch._fields)) if values else Batch()

    async def _oldest(self, slot: int, before_ms: int) -> tuple[dict[str, bytes], bool]:
        """(entries by their sort keys, whether there may be more)."""
        found: dict[str, bytes] = {}
        is_full = False
        for part in range(keys.JOURNAL_PARTS):
            values = {":pk": keys.journal_part(slot, part), ":before": f"{before_ms:013d}"}
            answer = await self._client.query(
                TableName=self._table,
                KeyConditionExpression="pk = :pk AND sk < :before",
                ExpressionAttributeValues=to_item(values),
                Limit=MOST_ENTRIES_OF_A_PART,
                # A stale answer could have entries of the batch before, which are removed.
                ConsistentRead=True,
            )
            found |= {item["sk"]: item["sums"] for item in map(from_item, answer["Items"])}
            is_full = is_full or "LastEvaluatedKey" in answer
        return found, is_full

    async def _entries(self, slot: int, batch: Batch) -> dict[str, bytes]:
        """Those of a batch that are there, by their sort keys."""
        names = batch.entry_keys.split()
        items = await _all(self._item(keys.journal_entry_of(slot, name)) for name in names)
        return {name: item["sums"] for name, item in zip(names, items, strict=True) if item}

    async def _item(self, key: Key) -> Mapping[str, Any]:
        answer = await self._client.get_item(TableName=self._table, Key=to_key(key), ConsistentRead=True)
        return from_item(answer.get("Item", {}))

    async def _make(self, slot: int, batch: Batch) -> bool:
        """Make the next batch; False where another worker did."""
        pk, sk = keys.journal_batch(slot)
        request = {"TableName": self._table, "Item": to_item({"pk": pk, "sk": sk} | batch._asdict())}
        if batch.batch_number == 1:
            condition: dict[str, Any] = {"ConditionExpression": "attribute_not_exists(pk)"}
        else:
            before = {":before": batch.batch_number - 1, ":done": True}
            condition = {
                "ConditionExpression": "batch_number = :before AND is_done = :done",
                "ExpressionAttributeValues": to_item(before),
            }
        return await _is_met(self._client.put_item(**request, **condition))

    async def _take_up(self, slot: int, batch: Batch) -> bool:
        """Go on with a batch that somebody left undone; False where another worker is at it."""
        if batch.worker != self._worker and self._now_ms() - batch.made_at_ms < self._left_behind_ms:
            return False
        log.warning("unfinished batch taken up", extra={"slot": slot})
        update = Update()
        update.set("worker", attribute(self._worker))
        update.set("made_at_ms", attribute(self._now_ms()))
        found = [update.value(attribute(value)) for value in (batch.batch_number, batch.made_at_ms)]
        condition = f"batch_number = {found[0]} AND made_at_ms = {found[1]}"
        request = update.request(self._table, keys.journal_batch(slot), condition)["Update"]
        return await _is_met(self._client.update_item(**request))

    async def _add_all(self, slot: int, sums: Mapping[str, Sums], number: int) -> None:
        """Add to every counter. If some fail, trying again is for these alone."""
        last, taken = self._taken.get(slot, (0, set[str]()))
        if last != number:
            taken = set()
        self._taken[slot] = number, taken

        async def add(name: str) -> None:
            await self._add(slot, name, sums[name], number)
            taken.add(name)

        await _all(add(name) for name in sums if name not in taken)

    async def _add(self, slot: int, name: str, sums: Sums, number: int) -> None:
        """Add to a counter, unless it has taken the batch."""
        update = Update()
        update.add_all(sums)
        update.set(keys.ROLLED_UP_TO, attribute(number))
        last, this = update.name(keys.ROLLED_UP_TO), update.value(attribute(number))
        condition = f"attribute_not_exists({last}) OR {last} < {this}"
        request = update.request(self._table, keys.total(name), condition)["Update"]
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                await _is_met(self._client.update_item(**request))
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == _REFUSED:
                    await self._put_aside(slot, name, sums, number)
                elif attempt < _ATTEMPTS and code in _BUSY:
                    await asyncio.sleep(0.05 * attempt)
                    continue
                else:
                    raise
            return

    async def _put_aside(self, slot: int, name: str, sums: Sums, number: int) -> None:
        """Keep what a counter cannot hold, so that it neither is lost nor stops all others."""
        digest = blake2b(name.encode(), digest_size=8).hexdigest()
        pk, sk = keys.journal_batch(slot)[0], f"refused-{number}-{digest}"
        log.error("a counter cannot hold what is to be added", extra={"kept_under": f"{pk} {sk}"})
        values = {"pk": pk, "sk": sk, "refused": written_down({name: sums})}
        await self._client.put_item(TableName=self._table, Item=to_item(values))

    async def _remove(self, slot: int, batch: Batch) -> None:
        """Remove all entries of a batch; an entry that stayed would come into the next one."""
        names = batch.entry_keys.split()
        left = [{"DeleteRequest": {"Key": to_key(keys.journal_entry_of(slot, name))}} for name in names]
        for attempt in range(_ATTEMPTS):
            await asyncio.sleep(0.05 * attempt)
            parts = [left[start : start + _MOST_DELETES] for start in range(0, len(left), _MOST_DELETES)]
            answers = await _all(
                self._client.batch_write_item(RequestItems={self._table: part}) for part in parts
            )
            left = [one for answer in answers for one in answer["UnprocessedItems"].get(self._table, [])]
            if not left:
                return
        raise RetryableError("DynamoDB leaves entries of the journal unremoved")

    async def _finish(self, slot: int, batch: Batch) -> None:
        """Mark the batch as done, unless another worker did and has gone on."""
        update = Update()
        update.set("is_done", attribute(True))
        update.set("entry_keys", attribute(""))
        condition = f"batch_number = {update.value(attribute(batch.batch_number))}"
        request = update.request(self._table, keys.journal_batch(slot), condition)["Update"]
        await _is_met(self._client.update_item(**request))


async def _is_met(write: Awaitable[object]) -> bool:
    """Make a write; whether its condition was met."""
    try:
        await write
    except ClientError as error:
        if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
            return False
        raise
    return True


async def _all(calls: Iterable[Awaitable[T]]) -> list[T]:
    """What the calls come to, some at once. Raises an error at the end, or when nothing goes well."""
    waiting, results, errors = iter(calls), list[T](), list[BaseException]()
    while some := list(islice(waiting, _MOST_CALLS)):
        before = len(results)
        for result in await asyncio.gather(*some, return_exceptions=True):
            if isinstance(result, BaseException):
                errors.append(result)
            else:
                results.append(result)
        if len(results) == before:
            break
    if errors:
        raise errors[0]
    return results
