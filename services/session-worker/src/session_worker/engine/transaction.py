"""One transaction: the writes of several units of work, merged. Pure: it builds the request, no more."""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sized
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from kinstream import keys
from kinstream.dynamo import Item, attribute, to_item, to_key
from kinstream.keys import Key
from kinstream.ledger_format import Bucket, encode_bucket
from session_worker.effects import Announce, Effect, Increment, Put, Threshold, Toggle

MAX_ITEMS = 100
"""DynamoDB's limit on the items of a transaction."""


class Switch(NamedTuple):
    """State of a toggle as stored. Version 0: never set."""

    at_ms: int = -1
    event_id: str = ""
    on: bool = False
    version: int = 0


@dataclass(slots=True)
class _Counter:
    amounts: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    members: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))
    labels: dict[str, str] = field(default_factory=dict)
    threshold: Threshold | None = None


class Origin(NamedTuple):
    """What a write of the request is, so that a refusal can be laid at the right door."""

    kind: Literal["bucket", "head", "toggle", "counter", "record", "outbox"]
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
    merges best and conflicts least. `expires_at` (seconds since 1970) is for what the ledger's
    retention covers.
    """

    def __init__(self, tables: TableNames, slot: int, now_ms: int) -> None:
        self._tables = tables
        self._slot = slot
        self._now_ms = now_ms
        self._buckets: dict[Key, tuple[Bucket, int]] = {}
        self._heads: dict[Key, tuple[bytes, int, int]] = {}
        self._counters: dict[Key, _Counter] = {}
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
                    counter = self._counter_key(app, effect.counter, spread=True)
                    self._toggles[effect.key].append((effect, counter))
                    self._counters.setdefault(counter, _Counter())
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
        return sum(len(part) for part in collected)

    def announcements(self) -> list[Announce]:
        """What goes to the outbox."""
        return list(self._outbox.values())

    def buckets(self) -> dict[Key, Bucket]:
        """The buckets as they will be, with the version that they were read with."""
        return {key: bucket for key, (bucket, _) in self._buckets.items()}

    def requests(
        self, switches: Mapping[Key, Switch], reached: Callable[[Key], bool]
    ) -> tuple[list[dict[str, Any]], list[Origin]]:
        """The items of TransactWriteItems and what each is.

        `reached` tells the counters whose threshold is taken to be reached by these increments; the
        request says so as a condition, so a wrong guess is refused and changes nothing.
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
            amounts = defaultdict(int, counter.amounts)
            for name, by in flips.get(key, {}).items():
                amounts[name] += by
            if any(amounts.values()) or counter.members:
                writes[Origin("counter", key)] = self._counter_update(key, counter, amounts, reached(key))
        for key, values in self._records.items():
            writes[Origin("record", key)] = self._record_update(key, values)
        for key, announce in self._outbox.items():
            writes[Origin("outbox", key)] = self._outbox_put(key, announce)
        return list(writes.values()), list(writes)

    def _counter_key(self, app: str, counter: tuple[str, ...], *, spread: bool) -> Key:
        return keys.counter(app, *counter, *([str(self._slot)] if spread else []))

    def _increment(self, app: str, effect: Increment) -> None:
        key = self._counter_key(app, effect.counter, spread=effect.spread)
        counter = self._counters.setdefault(key, _Counter())
        for name, by in effect.amounts.items():
            counter.amounts[name] += by
        for name, members in effect.members.items():
            counter.members[name] |= members
        counter.labels |= effect.labels
        counter.threshold = effect.threshold or counter.threshold

    def _bucket_put(self, key: Key, bucket: Bucket, expires_at: int) -> dict[str, Any]:
        entries, facts = encode_bucket(bucket)
        values = {"entries": entries, "facts": facts, "expires_at": expires_at}
        if bucket.state:
            values["state"] = bucket.state
        if bucket.due_at_ms:
            values |= {"due_shard": keys.ledger_due_shard_of(key[0]), "due_at_ms": bucket.due_at_ms}
        return _versioned_put(self._tables.ledger, key, values, bucket.version)

    def _head_put(self, key: Key, state: bytes, version: int, expires_at: int) -> dict[str, Any]:
        return _versioned_put(self._tables.ledger, key, {"state": state, "expires_at": expires_at}, version)

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
        return _versioned_put(self._tables.records, key, values, stored.version)

    def _counter_update(
        self, key: Key, counter: _Counter, amounts: Mapping[str, int], is_reached: bool
    ) -> dict[str, Any]:
        update = _Update()
        for name, by in amounts.items():
            if by:
                update.add(name, attribute(by))
        for name, members in counter.members.items():
            update.add(name, attribute(members))
        for name, label in counter.labels.items():
            update.set(name, attribute(label))
        condition = None
        if counter.threshold:
            condition = self._threshold(update, counter.threshold, amounts, is_reached)
        return update.request(self._tables.counters, key, condition)

    def _threshold(
        self, update: "_Update", threshold: Threshold, amounts: Mapping[str, int], is_reached: bool
    ) -> str | None:
        amount = update.name(threshold.amount)
        short_of = threshold.at - amounts[threshold.amount]
        if is_reached or short_of <= 0:
            update.set("due_at_ms", attribute(self._now_ms), unless_present=True)
            update.set("due_shard", attribute(keys.DUE_SHARD))
            return f"{amount} >= {update.value(attribute(short_of))}" if short_of > 0 else None
        return f"attribute_not_exists({amount}) OR {amount} < {update.value(attribute(short_of))}"

    def _record_update(self, key: Key, values: Mapping[str, Any]) -> dict[str, Any]:
        update = _Update()
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


class _Update:
    """Builds an update expression with placeholders for every name and value."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}
        self._values: Item = {}
        self._adds: list[str] = []
        self._sets: list[str] = []

    def name(self, name: str) -> str:
        return self._names.setdefault(name, f"#n{len(self._names)}")

    def value(self, value: dict[str, Any]) -> str:
        placeholder = f":v{len(self._values)}"
        self._values[placeholder] = value
        return placeholder

    def add(self, name: str, value: dict[str, Any]) -> None:
        self._adds.append(f"{self.name(name)} {self.value(value)}")

    def set(self, name: str, value: dict[str, Any], *, unless_present: bool = False) -> None:
        target, given = self.name(name), self.value(value)
        self._sets.append(
            f"{target} = if_not_exists({target}, {given})" if unless_present else f"{target} = {given}"
        )

    def request(self, table: str, key: Key, condition: str | None) -> dict[str, Any]:
        clauses = [("ADD", self._adds), ("SET", self._sets)]
        update: dict[str, Any] = {
            "TableName": table,
            "Key": to_key(key),
            "UpdateExpression": " ".join(f"{verb} {', '.join(parts)}" for verb, parts in clauses if parts),
            "ExpressionAttributeNames": {placeholder: name for name, placeholder in self._names.items()},
            "ExpressionAttributeValues": self._values,
        }
        if condition:
            update["ConditionExpression"] = condition
        return {"Update": update}


def _versioned_put(table: str, key: Key, values: Mapping[str, Any], version: int) -> dict[str, Any]:
    item = to_item({"pk": key[0], "sk": key[1], "version": version + 1, **values})
    put: dict[str, Any] = {
        "TableName": table,
        "Item": item,
        # The refusal then brings the item as it is, which saves reading it again.
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    if version:
        put["ConditionExpression"] = "version = :version"
        put["ExpressionAttributeValues"] = {":version": attribute(version)}
    else:
        put["ConditionExpression"] = "attribute_not_exists(pk)"
    return {"Put": put}
