"""One transaction: the writes of several units of work, merged. Pure: it builds the request, no more."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from kinstream import keys
from kinstream.dynamo import Item, attribute, from_item, to_item
from kinstream.keys import Key
from kinstream.ledger_format import Bucket, encode_bucket
from session_worker.domain.sums import Sums, written_down
from session_worker.domain.tallies import share_out
from session_worker.effects import Announce, Effect, Increment, Put, Tally, Threshold, Toggle
from session_worker.engine.requests import Update, all_of, versioned_put

MAX_ITEMS = 100
"""DynamoDB's limit on the items of a transaction."""

_MOST_DIRECT = 1
"""So many spread counters are written in the transaction; for more, an entry of the journal is cheaper."""


class Switch(NamedTuple):
    """State of a toggle as stored. Version 0: never set."""

    at_ms: int = -1
    event_id: str = ""
    on: bool = False
    version: int = 0


class Remembered(NamedTuple):
    """What is taken to be true of a counter; a write that it is wrong for is refused and changes nothing."""

    reached: bool = False
    """Whether its threshold is reached."""
    names: frozenset[str] = frozenset()
    """Names of its tally that have an amount of their own. It may have more."""


@dataclass(slots=True)
class _Counter:
    sums: Sums = field(default_factory=Sums)
    threshold: Threshold | None = None
    tally: Tally | None = None


class Origin(NamedTuple):
    """What a write of the request is, so that a refusal can be laid at the right door."""

    kind: Literal["bucket", "head", "toggle", "counter", "journal", "record", "outbox"]
    key: Key


@dataclass(frozen=True, slots=True)
class TableNames:
    """Full names of the tables that a transaction writes to."""

    ledger: str
    counters: str
    records: str
    outbox: str


class Transaction:
    """Collects buckets and effects; effects on the same counter become one write.

    `slot` is where this worker's increments of spread counters go: a worker that keeps to one slot
    merges best and conflicts least. Those of several such counters are one entry of the slot's journal, and
    `engine.rollup` adds them. `expires_at` (seconds since 1970) is for what the ledger's retention covers.
    """

    def __init__(self, tables: TableNames, slot: int, now_ms: int) -> None:
        self._tables = tables
        self._slot = slot
        self._now_ms = now_ms
        self._buckets: dict[Key, tuple[Bucket, int]] = {}
        self._heads: dict[Key, tuple[bytes, int, int]] = {}
        self._counters: dict[Key, _Counter] = {}
        self._spread: dict[Key, Sums] = {}
        self._toggles: dict[Key, list[tuple[Toggle, Key]]] = defaultdict(list)
        self._records: dict[Key, dict[str, Any]] = defaultdict(dict)
        self._outbox: dict[Key, Announce] = {}

    def put_bucket(self, key: Key, bucket: Bucket, expires_at: int) -> None:
        """Replace a bucket, on condition that it still has the version it was read with."""
        self._buckets[key] = bucket, expires_at

    def put_head(self, key: Key, state: bytes, version: int, expires_at: int) -> None:
        """Replace a timeline's head, on condition of its version: commits of one key queue up here."""
        self._heads[key] = state, version, expires_at

    def add(self, app: str, effects: Iterable[Effect]) -> None:
        """Take in the transactional effects; scores are not among them."""
        for effect in effects:
            match effect:
                case Increment():
                    self._increment(app, effect)
                case Toggle():
                    counter = self._slot_key(app, effect.counter)
                    self._toggles[effect.key].append((effect, counter))
                    self._spread.setdefault(counter, Sums())
                case Put():
                    self._records[effect.key] |= effect.values
                case Announce():
                    self._outbox[keys.announcement(effect.app, effect.announcement_id)] = effect

    def toggle_keys(self) -> list[Key]:
        """Toggles whose stored state `requests` needs."""
        return list(self._toggles)

    def size(self) -> int:
        """How many items the request will have at most."""
        collected: tuple[Sized, ...] = (
            *(self._buckets, self._heads, self._counters),
            *(self._toggles, self._records, self._outbox),
        )
        return sum(len(part) for part in collected) + min(len(self._spread), _MOST_DIRECT)

    def announcements(self) -> list[Announce]:
        """What goes to the outbox."""
        return list(self._outbox.values())

    def buckets(self) -> dict[Key, Bucket]:
        """The buckets as they will be, with the version that they were read with."""
        return {key: bucket for key, (bucket, _) in self._buckets.items()}

    def requests(
        self, switches: Mapping[Key, Switch], remembered: Callable[[Key], Remembered]
    ) -> tuple[list[dict[str, Any]], list[Origin]]:
        """The items of TransactWriteItems and what each is.

        `remembered` tells what is taken to be true of a counter. The request says so as a condition, and a
        refusal brings the counter as it is: see `learned`.
        """
        writes: dict[Origin, dict[str, Any]] = {}
        for key, (bucket, expires_at) in self._buckets.items():
            writes[Origin("bucket", key)] = self._bucket_put(key, bucket, expires_at)
        for key, (state, version, expires_at) in self._heads.items():
            writes[Origin("head", key)] = self._head_put(key, state, version, expires_at)
        flips: dict[Key, dict[str, int]] = {}
        for key, toggles in self._toggles.items():
            put = self._toggle_put(key, toggles, switches[key], flips)
            if put:
                writes[Origin("toggle", key)] = put
        for key, counter in self._counters.items():
            if counter.sums or counter.tally:
                writes[Origin("counter", key)] = self._counter_update(key, counter, remembered(key))
        writes |= self._spread_writes(flips)
        for key, values in self._records.items():
            writes[Origin("record", key)] = self._record_update(key, values)
        for key, announce in self._outbox.items():
            writes[Origin("outbox", key)] = self._outbox_put(key, announce)
        return list(writes.values()), list(writes)

    def learned(self, key: Key, item: Item | None) -> Remembered:
        """What is to be remembered of a counter that refused this transaction, from its item."""
        counter, values = self._counters[key], from_item(item or {})
        names = values.get(counter.tally.names_attribute, ()) if counter.tally else ()
        reached = False
        if threshold := counter.threshold:
            by = counter.sums.amounts.get(threshold.amount, 0)
            reached = values.get(threshold.amount, 0) + by >= threshold.at
        return Remembered(reached, frozenset(names))

    def _slot_key(self, app: str, counter: tuple[str, ...]) -> Key:
        return keys.counter(app, *counter, str(self._slot))

    def _increment(self, app: str, effect: Increment) -> None:
        if effect.spread:
            sums = self._spread.setdefault(self._slot_key(app, effect.counter), Sums())
            return sums.add(effect.amounts, effect.members, effect.labels)
        counter = self._counters.setdefault(keys.counter(app, *effect.counter), _Counter())
        counter.sums.add(effect.amounts, effect.members, effect.labels)
        counter.threshold = effect.threshold or counter.threshold
        if effect.tally:
            amounts = Counter(counter.tally.amounts if counter.tally else {})
            amounts.update(effect.tally.amounts)
            counter.tally = replace(effect.tally, amounts=amounts)
        return None

    def _bucket_put(self, key: Key, bucket: Bucket, expires_at: int) -> dict[str, Any]:
        entries, facts = encode_bucket(bucket)
        values = {"entries": entries, "facts": facts, "expires_at": expires_at}
        if bucket.state:
            values["state"] = bucket.state
        if bucket.due_at_ms:
            values |= {"due_shard": keys.ledger_due_shard_of(key[0]), "due_at_ms": bucket.due_at_ms}
        return versioned_put(self._tables.ledger, key, values, bucket.version)

    def _head_put(self, key: Key, state: bytes, version: int, expires_at: int) -> dict[str, Any]:
        return versioned_put(self._tables.ledger, key, {"state": state, "expires_at": expires_at}, version)

    def _toggle_put(
        self,
        key: Key,
        toggles: list[tuple[Toggle, Key]],
        stored: Switch,
        flips: dict[Key, dict[str, int]],
    ) -> dict[str, Any] | None:
        last, counter = max(toggles, key=lambda toggle: (toggle[0].at_ms, toggle[0].event_id, toggle[0].on))
        if (last.at_ms, last.event_id, last.on) <= (stored.at_ms, stored.event_id, stored.on):
            return None
        if last.on != stored.on:
            amounts = flips.setdefault(counter, defaultdict(int))
            amounts[last.amount] += 1 if last.on else -1
        values = {"at_ms": last.at_ms, "event_id": last.event_id, "on": last.on}
        return versioned_put(self._tables.records, key, values, stored.version)

    def _spread_writes(self, flips: Mapping[Key, Mapping[str, int]]) -> dict[Origin, dict[str, Any]]:
        sums = dict(self._spread)
        for key, amounts in flips.items():
            sums[key] = replace(sums[key], amounts=dict(sums[key].amounts))
            sums[key].add(amounts, {}, {})
        wanted = {key: one for key, one in sums.items() if one}
        if len(wanted) <= _MOST_DIRECT:
            counters = {key: _Counter(one) for key, one in wanted.items()}
            return {
                Origin("counter", k): self._counter_update(k, c, Remembered()) for k, c in counters.items()
            }
        # Named by a bucket and the version that is committed with it: no other transaction commits these.
        bucket, (stored, _) = next(iter(self._buckets.items()))
        entry = keys.journal_entry(self._slot, self._now_ms, f"{bucket}@{stored.version}")
        item = {
            "pk": entry[0],
            "sk": entry[1],
            "sums": written_down({key[0]: s for key, s in wanted.items()}),
        }
        put = {"Put": {"TableName": self._tables.counters, "Item": to_item(item)}}
        return {Origin("journal", entry): put}

    def _counter_update(self, key: Key, counter: _Counter, remembered: Remembered) -> dict[str, Any]:
        update = Update()
        conditions = []
        if counter.tally:
            conditions.append(self._tally(update, counter.tally, remembered.names))
        update.add_all(counter.sums)
        if counter.threshold:
            amounts = counter.sums.amounts
            conditions.append(self._threshold(update, counter.threshold, amounts, remembered.reached))
        return update.request(self._tables.counters, key, all_of(conditions))

    def _tally(self, update: Update, tally: Tally, known: frozenset[str]) -> str | None:
        shares = share_out(tally, known)
        for name, by in shares.amounts.items():
            update.add(name, attribute(by))
        if shares.names:
            update.add(tally.names_attribute, attribute(shares.names))
        if shares.most_before is None:
            return None
        names = update.name(tally.names_attribute)
        if shares.most_before == 0:
            return f"attribute_not_exists({names})"
        most = update.value(attribute(shares.most_before))
        if shares.is_exact:
            return f"size({names}) = {most}"
        return f"attribute_not_exists({names}) OR size({names}) <= {most}"

    def _threshold(
        self, update: Update, threshold: Threshold, amounts: Mapping[str, int], is_reached: bool
    ) -> str | None:
        amount = update.name(threshold.amount)
        short_of = threshold.at - amounts.get(threshold.amount, 0)
        if is_reached or short_of <= 0:
            update.set("due_at_ms", attribute(self._now_ms), unless_present=True)
            update.set("due_shard", attribute(keys.DUE_SHARD))
            return f"{amount} >= {update.value(attribute(short_of))}" if short_of > 0 else None
        return f"attribute_not_exists({amount}) OR {amount} < {update.value(attribute(short_of))}"

    def _record_update(self, key: Key, values: Mapping[str, Any]) -> dict[str, Any]:
        update = Update()
        for name, value in values.items():
            update.set(name, attribute(value))
        return update.request(self._tables.records, key, None)

    def _outbox_put(self, key: Key, announce: Announce) -> dict[str, Any]:
        item = {
            "pk": key[0],
            "sk": key[1],
            "topic": announce.topic,
            "announcement_id": announce.announcement_id,
            "body": json.dumps(announce.body, ensure_ascii=True),
            "created_at_ms": self._now_ms,
            "pending_shard": keys.pending_shard(announce.announcement_id),
        }
        return {"Put": {"TableName": self._tables.outbox, "Item": to_item(item)}}
