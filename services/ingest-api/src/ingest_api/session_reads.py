"""A customer's sessions, computed from the ledger of the `activity` processor while it is read.

Only as many items are read as the page asked for needs, plus what lies contiguously before it: where a
session was cut at 24 hours depends on where its run of events began.
"""

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from ingest_api.composition import Place
from ingest_api.reads import Row, answering, has_expired
from kinstream.dynamo import from_item, to_item
from kinstream.ledger_format import (
    bucket_start_ms,
    decode_bucket,
    join_key,
    partition_key,
    sort_key,
    split_sort_key,
)
from kinstream.views.sessions import GAP_MS, MAX_SESSION_MS, Moment, Session, sessions_of

PROCESSOR = "activity"
BUCKET_SECONDS = 3_600
_PAGE_ITEMS = 48
_DEVICES_AT_ONCE = 8
_AFTER_EVERY_BUCKET = "@~"
"""Sorts behind all buckets of a device: their keys go on with digits after the @."""


class Found(NamedTuple):
    """A session and the device it is of."""

    started_ms: int
    device_id: str
    session: Session


@dataclass(frozen=True, slots=True)
class SessionQuery:
    """Sessions that overlap a range of time (both ends included), of one device or of all."""

    app: str
    customer_id: str
    from_ms: int
    to_ms: int
    limit: int
    device_id: str | None = None
    after: Place | None = None
    """Where the page before this one ended."""

    @property
    def start_ms(self) -> int:
        """Nothing that ended before this is asked for."""
        return max(self.from_ms, self.after.started_ms if self.after else 0)

    def wants(self, found: Found) -> bool:
        """Whether a session belongs to this page or one behind it."""
        session = found.session
        overlaps = session.started_ms <= self.to_ms and session.ended_ms >= self.from_ms
        return overlaps and (self.after is None or found[:2] > self.after)


class SessionReads:
    """Reads the ledger, strongly consistent: an event that was counted is in the next answer."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def page(self, query: SessionQuery, now_ms: int) -> tuple[list[Found], bool]:
        """(sessions in order of start and device, whether there are more)."""
        partition = partition_key(query.app, PROCESSOR, [query.customer_id])
        devices = (
            [query.device_id] if query.device_id is not None else [d async for d in self._devices(partition)]
        )
        streams = [self._sessions(partition, device, query, now_ms) for device in devices]
        try:
            found = await _merged(streams, query.limit + 1)
        finally:
            for stream in streams:
                await stream.aclose()
        return found[: query.limit], len(found) > query.limit

    async def _devices(self, partition: str) -> AsyncIterator[str]:
        """Every device with an item, at one read a device however many items it has."""
        condition, values = "pk = :pk", {":pk": partition}
        while rows := (await self._query(condition, values, Limit=1))[0]:
            (device,), _ = split_sort_key(rows[0]["sk"])
            yield device
            condition = "pk = :pk AND sk > :after"
            values[":after"] = join_key(device) + _AFTER_EVERY_BUCKET

    async def _sessions(
        self, partition: str, device: str, query: SessionQuery, now_ms: int
    ) -> AsyncGenerator[Found, None]:
        """Sessions of one device that belong to the page, in order."""
        async for run in self._runs(partition, device, query, now_ms):
            for session in sessions_of(run):
                found = Found(session.started_ms, device, session)
                if query.wants(found):
                    yield found

    async def _runs(
        self, partition: str, device: str, query: SessionQuery, now_ms: int
    ) -> AsyncIterator[list[Moment]]:
        """Moments between gaps: no session reaches over one, so each run is folded by itself."""
        run = await self._run_before(partition, device, query.start_ms, now_ms)
        lower = sort_key([device], bucket_start_ms(query.start_ms, BUCKET_SECONDS))
        upper = join_key(device) + _AFTER_EVERY_BUCKET
        async for moment in self._moments(partition, lower, upper, now_ms):
            if moment.time_ms < query.start_ms:
                continue
            if run and moment.time_ms - run[-1].time_ms > GAP_MS:
                yield run
                run = []
            beyond_ms = moment.time_ms - query.to_ms
            # A session that began in the range is over within a day of it.
            if beyond_ms > MAX_SESSION_MS or (beyond_ms > 0 and not run):
                break
            run.append(moment)
        if run:
            yield run

    async def _run_before(self, partition: str, device: str, edge_ms: int, now_ms: int) -> list[Moment]:
        """Moments before `edge_ms` with no gap over 30 minutes among them and up to it, in order."""
        run: list[Moment] = []
        if edge_ms == 0:
            return run
        start_ms = edge_ms
        upper = sort_key([device], bucket_start_ms(start_ms, BUCKET_SECONDS))
        async for moment in self._moments(partition, join_key(device) + "@", upper, now_ms, backwards=True):
            if moment.time_ms >= start_ms:
                continue
            if edge_ms - moment.time_ms > GAP_MS:
                break
            run.append(moment)
            edge_ms = moment.time_ms
        return run[::-1]

    async def _moments(
        self, partition: str, low: str, high: str, now_ms: int, *, backwards: bool = False
    ) -> AsyncIterator[Moment]:
        """The active moments of the buckets between two sort keys, read page by page."""
        values = {":pk": partition, ":low": low, ":high": high}
        options = {"Limit": _PAGE_ITEMS, "ScanIndexForward": not backwards}
        more: Any = None
        while True:
            start = {"ExclusiveStartKey": more} if more else {}
            rows, more = await self._query(
                "pk = :pk AND sk BETWEEN :low AND :high", values, **options, **start
            )
            for row in rows:
                if not has_expired(row, now_ms):
                    moments = _active_moments(row)
                    for moment in reversed(moments) if backwards else moments:
                        yield moment
            if not more:
                return

    async def _query(self, condition: str, values: Row, **options: Any) -> tuple[list[Row], Any]:
        """(rows, the key to go on after, or None)."""
        async with answering():
            answer = await self._dynamodb.query(
                TableName=self._table,
                KeyConditionExpression=condition,
                ExpressionAttributeValues=to_item(values),
                ConsistentRead=True,
                **options,
            )
        return [from_item(item) for item in answer["Items"]], answer.get("LastEvaluatedKey")


def _active_moments(row: Row) -> list[Moment]:
    """A bucket's moments in order; events without a fact are passive and no part of any session."""
    _, start_ms = split_sort_key(row["sk"])
    bucket = decode_bucket(start_ms, row["entries"], row["facts"], row["version"])
    return [Moment(time_ms, str(fact[0]), str(fact[1])) for time_ms, fact in bucket.timeline() if fact]


async def _merged(streams: list[AsyncGenerator[Found, None]], most: int) -> list[Found]:
    """The first `most` of several ordered streams, each read no further than that needs."""
    heads: list[tuple[int, str, int, Found]] = []

    async def push(number: int) -> None:
        if (found := await anext(streams[number], None)) is not None:
            heapq.heappush(heads, (found.started_ms, found.device_id, number, found))

    for start in range(0, len(streams), _DEVICES_AT_ONCE):
        some = range(start, min(start + _DEVICES_AT_ONCE, len(streams)))
        # All of them end before one's failure is raised: a stream that is being read cannot be closed.
        for error in await asyncio.gather(*map(push, some), return_exceptions=True):
            if isinstance(error, BaseException):
                raise error
    merged: list[Found] = []
    while heads and len(merged) < most:
        *_, number, found = heapq.heappop(heads)
        merged.append(found)
        await push(number)
    return merged
