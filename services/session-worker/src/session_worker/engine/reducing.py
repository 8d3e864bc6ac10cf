"""Commits units of reducers: ledger buckets with the merged effects of their new events."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kinstream.errors import PermanentError
from kinstream.events import Event
from kinstream.generations import app_of
from kinstream.keys import Key
from kinstream.ledger_format import Bucket, bucket_start_ms, entry_of, partition_key, sort_key
from session_worker.effects import Announce, Effect, Increment, Score
from session_worker.engine.groups import Committer, Outcome, TooManyWritesError, Unit, UnitError
from session_worker.engine.transaction import MAX_ITEMS, Transaction
from session_worker.processor import LedgerKey, Reducer

_MAX_UNITS = 40
"""Units a lot begins with; one that makes too many writes of them is halved."""


class ReducingCommitter(Committer[Reducer]):
    """One transaction a lot: all its buckets, counters, toggles and announcements."""

    def unit_key(self, app: str, event: Event) -> tuple[str, LedgerKey, int]:
        start_ms = bucket_start_ms(event.occurred_at_ms, self.processor.bucket_seconds)
        return app, self.processor.key(event), start_ms

    def pack(self, units: Sequence[Unit]) -> Iterable[list[Unit]]:
        # Neighbours of one customer share its counters, so they go together.
        ordered = sorted(units, key=lambda unit: (unit.app, unit.key, unit.start_ms))
        for start in range(0, len(ordered), _MAX_UNITS):
            yield ordered[start : start + _MAX_UNITS]

    async def commit(self, units: Sequence[Unit], outcome: Outcome) -> None:
        addresses = [self._address(unit) for unit in units]
        stored = await self._store.buckets(addresses)
        now_ms = self._options.now_ms()
        transaction = Transaction(self._store.tables, self._options.slot, now_ms)
        scores: list[tuple[str, Score]] = []
        counted = 0
        for address, unit in zip(addresses, units, strict=True):
            bucket, new, effects = self._decide(stored[address], unit, now_ms)
            if not new:
                continue
            counted += len(new)
            transaction.put_bucket(address, bucket, self._expires_at(bucket))
            transaction.add(unit.app, effects)
            scores += [(unit.app, effect) for effect in effects if isinstance(effect, Score)]
        if transaction.size() > MAX_ITEMS:
            raise TooManyWritesError
        await self._store.commit(transaction)
        outcome.announcements += transaction.announcements()
        outcome.scores += scores
        outcome.counted += counted
        outcome.duplicates += sum(len(unit.members) for unit in units) - counted

    def _decide(self, stored: Bucket, unit: Unit, now_ms: int) -> tuple[Bucket, list[Event], list[Effect]]:
        """The bucket as it is to be, its new events, and what they come to."""
        try:
            bucket, new = self._unite(stored, unit)
            if not new:
                return bucket, new, []
            effects = list[Effect](self.processor.effects(unit.app, unit.key, new))
            if unit.app != app_of(unit.app):
                _check_repeatable(effects)
            bucket.due_at_ms = self.processor.due_at_ms(bucket, new, now_ms)
        except Exception as error:
            raise UnitError(unit, error) from error
        return bucket, new, effects

    def _unite(self, stored: Bucket, unit: Unit) -> tuple[Bucket, list[Event]]:
        """The stored bucket with the unit's events in it, and those that were not there before."""
        bucket = replace(stored, facts=dict(stored.facts))
        new = [
            event
            for event, _ in unit.members
            if bucket.add(
                entry_of(event.id, event.occurred_at_ms - bucket.start_ms, self._options.hash_key),
                self.processor.fact(event),
            )
        ]
        return bucket, new

    def _address(self, unit: Unit) -> Key:
        partition = partition_key(unit.app, self.processor.name, unit.key.partition)
        return partition, sort_key(unit.key.series, unit.start_ms)

    def _expires_at(self, bucket: Bucket) -> int:
        end_ms = bucket.start_ms + self.processor.bucket_seconds * 1000
        return self._options.expires_at(end_ms)


def _check_repeatable(effects: Iterable[Effect]) -> None:
    """PermanentError where an effect would tell or begin again what an earlier generation has."""
    for effect in effects:
        if isinstance(effect, Announce) or (isinstance(effect, Increment) and effect.threshold):
            raise PermanentError(
                "a generation beyond the first cannot announce and has no thresholds: set rebuildable = False"
            )
