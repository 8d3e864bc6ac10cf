"""Commits units of timelines: every commit of one key goes over its head, so they queue up in order."""

from collections.abc import Iterable, Sequence

from kinstream.events import Event
from kinstream.ledger_format import Bucket, bucket_start_ms, entry_of, join_key, partition_key, sort_key
from session_worker.engine.groups import MAX_QUEUED_MS, Committer, Outcome, TooManyWritesError, Unit
from session_worker.engine.store import HEAD_SUFFIX
from session_worker.engine.transaction import MAX_ITEMS, Transaction
from session_worker.processor import History, LedgerKey, Timeline


class TimelineCommitter(Committer[Timeline]):
    """One transaction a key: the buckets that changed, the head, the records and announcements."""

    def unit_key(self, app: str, event: Event) -> tuple[str, LedgerKey, int]:
        return app, self.processor.key(event), 0

    def pack(self, units: Sequence[Unit]) -> Iterable[list[Unit]]:
        return [[unit] for unit in units]

    async def commit(self, units: Sequence[Unit], outcome: Outcome) -> None:
        for unit in units:
            await self._commit(unit, outcome)

    async def _commit(self, unit: Unit, outcome: Outcome) -> None:
        processor, app, key = self.processor, unit.app, unit.key
        partition, series = partition_key(app, processor.name, key.partition), join_key(*key.series)
        starts = [bucket_start_ms(e.occurred_at_ms, processor.bucket_seconds) for e, _ in unit.members]
        stored = await self._store.timeline(partition, series, min(starts))
        references = await self._store.references(processor.references(app, key))
        buckets = {bucket.start_ms: bucket for bucket in stored.buckets}
        touched = set[int]()
        new = 0
        for (event, _), start_ms in zip(unit.members, starts, strict=True):
            bucket = buckets.setdefault(start_ms, Bucket(start_ms))
            entry = entry_of(event.id, event.occurred_at_ms - start_ms, self._options.hash_key)
            if bucket.add(entry, processor.fact(event, references)):
                touched.add(start_ms)
                new += 1
        if not touched:
            outcome.duplicates += len(unit.members)
            return
        ordered = [buckets[start_ms] for start_ms in sorted(buckets)]
        now_ms = self._options.now_ms()
        settled_before_ms = now_ms - self._options.retention_ms - MAX_QUEUED_MS
        history = History(stored.head, stored.carry, ordered, stored.head_version, settled_before_ms)
        replayed = processor.replay(app, key, history, now_ms)
        transaction = Transaction(self._store.tables, self._options.slot, now_ms)
        expires_at = self._options.expires_at(max(buckets) + processor.bucket_seconds * 1000)
        for bucket, state in zip(ordered, replayed.states, strict=True):
            if bucket.start_ms in touched or bucket.state != state:
                bucket.state = state
                transaction.put_bucket((partition, sort_key(key.series, bucket.start_ms)), bucket, expires_at)
        transaction.put_head(
            (partition, series + HEAD_SUFFIX), replayed.head, stored.head_version, expires_at
        )
        transaction.add(app, replayed.effects)
        if transaction.size() > MAX_ITEMS:
            raise TooManyWritesError
        await self._store.commit(transaction)
        outcome.announcements += transaction.announcements()
        outcome.counted += new
        outcome.duplicates += len(unit.members) - new
