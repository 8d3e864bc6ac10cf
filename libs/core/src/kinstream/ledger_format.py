"""The bytes of a ledger item: which events of one bucket have been counted, and a fact of each.

An entry is 8 bytes: 22 bits of millisecond offset in the bucket, 42 bits of a keyed hash of the event
id. Entries are kept sorted, so that equal sets are equal bytes. Beside each entry stands its fact, a
small tuple that its processor chose; equal facts are stored once, and many of them compressed.
"""

import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import pairwise
from operator import itemgetter

import msgspec

from kinstream.errors import PermanentError
from kinstream.packing import packed, unpacked

OFFSET_BITS = 22
HASH_BITS = 42
MAX_BUCKET_SECONDS = (1 << OFFSET_BITS) // 1000
"""4,194 s: an hour fits, a day does not."""

MAX_ENTRIES = 20_000
"""Beyond this an item would near DynamoDB's 400 KB: no person makes so many events in a bucket."""

Fact = tuple[str | int | float | None, ...]

MAX_FACTS_BYTES = 1024 * 1024
"""Before compression, so that a bucket in memory is bounded too: an hour of the longest names."""

_HASH_MASK = (1 << HASH_BITS) - 1


def entry_of(event_id: str, offset_ms: int, key: bytes) -> int:
    """The entry of an event. `key` is the server's secret: without it nobody can craft a collision."""
    digest = blake2b(event_id.encode(), digest_size=8, key=key).digest()
    return offset_ms << HASH_BITS | int.from_bytes(digest, "big") & _HASH_MASK


def offset_ms_of(entry: int) -> int:
    """Milliseconds after the bucket's start at which the entry's event occurred."""
    return entry >> HASH_BITS


@dataclass(slots=True)
class Bucket:
    """One bucket of one key: a grow-only set of entries with their facts. Merging is set union."""

    start_ms: int
    facts: dict[int, Fact] = field(default_factory=dict)
    version: int = 0
    state: bytes = b""
    """What a timeline processor carries into the next bucket (see its `replay`); else a view's own notes."""
    due_at_ms: int = 0
    """When a view must look at the bucket (see `Reducer.due_at_ms`); 0: never."""

    def add(self, entry: int, fact: Fact) -> bool:
        """Take an entry in; False where it is in already, which makes its event a duplicate."""
        if entry in self.facts:
            return False
        if len(self.facts) >= MAX_ENTRIES:
            raise PermanentError(f"more than {MAX_ENTRIES:,} events of one key in one bucket of time")
        self.facts[entry] = fact
        return True

    def timeline(self) -> Iterator[tuple[int, Fact]]:
        """(milliseconds since 1970, fact) in order of time; equal times in order of their facts.

        The hash does not decide the order, so that anybody can compute the same from the events.
        """
        rows = [(self.start_ms + (entry >> HASH_BITS), fact) for entry, fact in self.facts.items()]
        rows.sort(key=itemgetter(0))
        if any(one[0] == other[0] for one, other in pairwise(rows)):
            rows.sort(key=_by_time_then_fact)
        return iter(rows)


def _by_time_then_fact(row: tuple[int, Fact]) -> tuple[int, str]:
    return row[0], repr(row[1])


def encode_bucket(bucket: Bucket) -> tuple[bytes, bytes]:
    """(entries, facts) as stored: equal sets give equal bytes, whatever order they came in.

    PermanentError where the facts are more than an item may hold.
    """
    order = sorted(bucket.facts)
    entries = array("Q", order)
    if sys.byteorder == "little":
        entries.byteswap()
    table = sorted(set(bucket.facts.values()), key=repr)
    index = {fact: number for number, fact in enumerate(table)}
    width = "B" if len(table) <= 0x100 else "H"
    codes = array(width, (index[bucket.facts[entry]] for entry in order))
    if sys.byteorder == "big":
        codes.byteswap()
    plain = msgspec.msgpack.encode((table, width, codes.tobytes()))
    if len(plain) > MAX_FACTS_BYTES:
        raise PermanentError(f"more than {MAX_FACTS_BYTES:,} bytes of facts of one key in one bucket of time")
    return entries.tobytes(), packed(plain)


def decode_bucket(start_ms: int, entries: bytes, facts: bytes, version: int, state: bytes = b"") -> Bucket:
    """The bucket that `encode_bucket` wrote."""
    order = array("Q", entries)
    if sys.byteorder == "little":
        order.byteswap()
    table, width, numbers = msgspec.msgpack.decode(unpacked(facts))
    codes = array(width, numbers)
    if sys.byteorder == "big":
        codes.byteswap()
    known = [tuple(fact) for fact in table]
    by_entry = {entry: known[code] for entry, code in zip(order, codes, strict=True)}
    return Bucket(start_ms, by_entry, version, state)


def bucket_start_ms(time_ms: int, bucket_seconds: int) -> int:
    """Start of the bucket that a time falls into."""
    return time_ms - time_ms % (bucket_seconds * 1000)


def partition_key(app: str, processor: str, parts: Iterable[str]) -> str:
    """Partition key of a processor's ledger items."""
    return join_key(app, processor, *parts)


def sort_key(series: Iterable[str], start_ms: int) -> str:
    """Sort key of a bucket: its series (a device, say) and its start, so that a range is a Query."""
    return f"{join_key(*series)}@{start_ms // 1000:011d}"


def split_sort_key(key: str) -> tuple[list[str], int]:
    """(series, bucket start in ms) of a sort key."""
    series, _, seconds = key.rpartition("@")
    return split_key(series), int(seconds) * 1000


def join_key(*parts: str) -> str:
    """Parts joined so that no two lists of parts give the same key, whatever the parts hold."""
    plain = "#".join(parts)
    if plain.count("#") == len(parts) - 1 and "%" not in plain and "@" not in plain:
        return plain
    return "#".join(part.replace("%", "%25").replace("#", "%23").replace("@", "%40") for part in parts)


def split_key(key: str) -> list[str]:
    """The parts that `join_key` joined."""
    return [part.replace("%40", "@").replace("%23", "#").replace("%25", "%") for part in key.split("#")]
