"""Row `session-read`: the server's time for a page of the sessions of a customer with 100,000 events.

What the API does for the request is done here: the ledger's buckets are read, the sessions computed, the
answer built and encoded. DynamoDB is a sorted list that answers at once, and its queries are counted: each
takes some milliseconds more on AWS.
"""

import asyncio
import random
import statistics
import time
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from benchmarks.runner import Bench, Result
from ingest_api import composition
from ingest_api.answers import SessionsAnswer
from ingest_api.session_reads import SessionQuery, SessionReads
from kinstream.dynamo import Item, to_item
from kinstream.ledger_format import Bucket, bucket_start_ms, encode_bucket, entry_of, partition_key, sort_key
from kinstream.resources import TABLE_LEDGER
from kinstream.views.closing import decide, encode_closings
from kinstream.views.sessions import moments_in

MOST_MS = 200
EVENTS = 100_000
PAGE = 100
APP, DEVICE = "bench", "ipad-1"
_HOUR_MS = 3_600_000
_NOW_MS = 1_780_000_000_000
_ENDLESS_MS = 10**14
_LATENESS_MS = 900_000
_ACTIVITIES = ("reading", "drawing", "music")


@dataclass(frozen=True)
class Shape:
    """How a customer's events lie in time: so many to a session, so far apart; 0 sessions: one run."""

    name: str
    events_a_session: int
    step_ms: int

    def times_ms(self, count: int) -> Iterator[int]:
        """Times of the events, in order."""
        time_ms = _NOW_MS - 30 * 24 * _HOUR_MS
        for number in range(count):
            yield time_ms
            ends = self.events_a_session and (number + 1) % self.events_a_session == 0
            time_ms += self.step_ms + (2 * _HOUR_MS if ends else 0)


SHAPES = (
    Shape("10 events a session", 10, 60_000),
    Shape("180 events a session", 180, 10_000),
    Shape("no pause at all, an event every 10 s", 0, 10_000),
)


def buckets_of(shape: Shape, count: int) -> list[Bucket]:
    """The ledger of one device after so many events, all sessions closed."""
    draw = random.Random(7)
    buckets: dict[int, Bucket] = {}
    for number, time_ms in enumerate(shape.times_ms(count)):
        start_ms = bucket_start_ms(time_ms, 3_600)
        bucket = buckets.setdefault(start_ms, Bucket(start_ms))
        fact = draw.choice(_ACTIVITIES), f"story-{draw.randrange(1_000)}"
        bucket.add(entry_of(f"e{number}", time_ms - start_ms, b"key"), fact)
    moments = [moment for bucket in buckets.values() for moment in moments_in(bucket)]
    everything = range(_ENDLESS_MS)
    by_bucket: dict[int, list[Any]] = {}
    for closing in decide(moments, {}, everything, _ENDLESS_MS, _LATENESS_MS).closings:
        by_bucket.setdefault(bucket_start_ms(closing.started_ms, 3_600), []).append(closing.sent())
    for start_ms, closings in by_bucket.items():
        buckets[start_ms].state = encode_closings(closings)
    return list(buckets.values())


class SortedLedger:
    """Stands in for a DynamoDB client that knows the queries of the session view."""

    def __init__(self, items: Iterable[Item]) -> None:
        self._items = sorted(items, key=_sort_value)
        self.queries = 0

    async def query(self, **request: Any) -> dict[str, Any]:
        """Between two sort keys, or behind one, or all; either way round; in pages."""
        self.queries += 1
        values = request["ExpressionAttributeValues"]
        low = bisect_left(self._items, values[":low"]["S"], key=_sort_value) if ":low" in values else 0
        if ":after" in values:
            low = bisect_right(self._items, values[":after"]["S"], key=_sort_value)
        high = len(self._items)
        if ":high" in values:
            high = bisect_right(self._items, values[":high"]["S"], key=_sort_value)
        forward, start = request.get("ScanIndexForward", True), request.get("ExclusiveStartKey")
        if start and forward:
            low = bisect_right(self._items, _sort_value(start), key=_sort_value)
        elif start:
            high = bisect_left(self._items, _sort_value(start), key=_sort_value)
        most = request["Limit"]
        found = (
            self._items[low : min(high, low + most)]
            if forward
            else self._items[max(low, high - most) : high][::-1]
        )
        more = {"LastEvaluatedKey": found[-1]} if high - low > most else {}
        return {"Items": found, **more}


def _sort_value(item: Item) -> str:
    return str(item["sk"]["S"])


def measure(bench: Bench, name: str) -> Result:
    """The row."""
    count = bench.pick(EVENTS // 10, EVENTS)
    worst, notes = 0.0, []
    for number, shape in enumerate(SHAPES):
        bench.say(shape.name)
        took_ms, queries = asyncio.run(_pages(f"fam-{number}", shape, count))
        worst = max(worst, *took_ms)
        notes.append(
            f"{shape.name}: {len(took_ms)} pages, median {statistics.median(took_ms):.0f} ms, most "
            f"{max(took_ms):.0f} ms, {queries / len(took_ms):.1f} queries a page"
        )
    notes.append(f"{count:,} events of one device, {PAGE} sessions a page, CPU time of the process")
    return Result(f"at most {worst:.0f} ms a page", worst <= MOST_MS, notes, {"page_ms_most": worst})


async def _pages(customer: str, shape: Shape, count: int) -> tuple[list[float], int]:
    ledger = SortedLedger(to_item(ledger_item(customer, bucket)) for bucket in buckets_of(shape, count))
    reads = SessionReads(ledger, TABLE_LEDGER)
    await _page(reads, customer, None)  # the code is warm afterwards
    ledger.queries = 0
    took_ms: list[float] = []
    after: composition.Place | None = None
    while True:
        began = time.process_time()
        found, more = await _page(reads, customer, after)
        took_ms.append((time.process_time() - began) * 1000)
        if not more:
            return took_ms, ledger.queries
        after = composition.Place(found[-1].started_ms, DEVICE)


async def _page(
    reads: SessionReads, customer: str, after: composition.Place | None
) -> tuple[list[Any], bool]:
    query = SessionQuery(APP, customer, 0, _ENDLESS_MS, PAGE, None, after)
    found, more = await reads.page(query, _NOW_MS)
    answers = [
        composition.session_answer(APP, customer, one.device_id, one.session, one.standing) for one in found
    ]
    assert not any(answer.provisional for answer in answers)
    SessionsAnswer(sessions=answers, next=None).model_dump_json()
    return found, more


def ledger_item(customer: str, bucket: Bucket) -> Mapping[str, Any]:
    """A bucket as the ledger holds it."""
    entries, facts = encode_bucket(bucket)
    return {
        "pk": partition_key(APP, "activity", [customer]),
        "sk": sort_key([DEVICE], bucket.start_ms),
        "entries": entries,
        "facts": facts,
        "version": 1,
        "state": bucket.state,
        "expires_at": _ENDLESS_MS // 1000,
    }


if __name__ == "__main__":
    from pathlib import Path

    result = measure(Bench(quick=False, folder=Path(), cache=Path(), rows={}), "session-read")
    print(result.measured, *result.notes, sep="\n")
