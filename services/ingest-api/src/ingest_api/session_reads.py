"""A customer's sessions, computed from the ledger of the `activity` processor while it is read.

Only as many items are read as the page asked for needs, plus what lies contiguously before it: where a
session was cut at 24 hours depends on where its run of events began.
"""

import asyncio
import heapq
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from operator import attrgetter
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
from kinstream.views.closing import Closing, Standing, decode_closings, runs_of, standing_of
from kinstream.views.sessions import GAP_MS, MAX_SESSION_MS, Moment, Session, moments_in, sessions_of

PROCESSOR = "activity"
BUCKET_SECONDS = 3_600
_PAGE_ITEMS = 48
_DEVICES_AT_ONCE = 8
MOST_MOMENTS = 20_000
"""A page that has read more ends with what it has, so that its time is bounded whatever the sessions are."""
_AFTER_EVERY_BUCKET = "@~"
"""Sorts behind all buckets of a device: their keys go on with digits after the @."""


class Found(NamedTuple):
    """A session, the device it is of, and how it stands."""

    started_ms: int
    device_id: str
    session: Session
    standing: Standing


class _Run(NamedTuple):
    """Moments in order, and what was announced of sessions that start among them, by start."""

    moments: list[Moment]
    closings: dict[int, Closing]


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

    def wants(self, session: Session, device_id: str) -> bool:
        """Whether a session belongs to this page or one behind it."""
        overlaps = session.started_ms <= self.to_ms and session.ended_ms >= self.from_ms
        return overlaps and (self.after is None or (session.started_ms, device_id) > self.after)


@dataclass(slots=True)
class _Asked:
    """What is asked for, and how much was read for it."""

    query: SessionQuery
    partition: str
    now_ms: int
    moments_read: int = 0


class SessionReads:
    """Reads the ledger, strongly consistent: an event that was counted is in the next answer."""

    def __init__(self, dynamodb: Any, table: str) -> None:
        self._dynamodb = dynamodb
        self._table = table

    async def page(self, query: SessionQuery, now_ms: int) -> tuple[list[Found], bool]:
        """(sessions in order of start and device, whether more may come: a last page may be empty)."""
        partition = partition_key(query.app, PROCESSOR, [query.customer_id])
        devices = (
            [query.device_id] if query.device_id is not None else [d async for d in self._devices(partition)]
        )
        asked = _Asked(query, partition, now_ms)
        streams = [self._sessions(asked, device) for device in devices]
        try:
            return await _merged(streams, asked)
        finally:
            for stream in streams:
                await stream.aclose()

    async def _devices(self, partition: str) -> AsyncIterator[str]:
        """Every device with an item, at one read a device however many items it has."""
        condition, values = "pk = :pk", {":pk": partition}
        while rows := (await self._query(condition, values, Limit=1))[0]:
            (device,), _ = split_sort_key(rows[0]["sk"])
            yield device
            condition = "pk = :pk AND sk > :after"
            values[":after"] = join_key(device) + _AFTER_EVERY_BUCKET

    async def _sessions(self, asked: _Asked, device: str) -> AsyncGenerator[Found, None]:
        """Sessions of one device that belong to the page, in order."""
        async for run in self._runs(asked, device):
            for session in sessions_of(run.moments):
                if asked.query.wants(session, device):
                    yield Found(session.started_ms, device, session, standing_of(session, run.closings))

    async def _runs(self, asked: _Asked, device: str) -> AsyncIterator[_Run]:
        """Moments between gaps, or between cuts at 24 hours: each is folded by itself, once it is whole."""
        query, after = asked.query, asked.query.after
        announced: dict[int, Closing] = {}
        start_ms, run = query.start_ms, list[Moment]()
        if after is not None and after.device_id == device:
            # The page before ended with a session that starts here, so there is no need to look further back.
            start_ms = after.started_ms
        else:
            run = await self._run_before(asked, device, start_ms, announced)
        lower = sort_key([device], bucket_start_ms(start_ms, BUCKET_SECONDS))
        async for bucket in self._buckets(asked, lower, join_key(device) + _AFTER_EVERY_BUCKET):
            announced |= bucket.closings
            moments = bucket.moments
            if moments and moments[0].time_ms < start_ms:
                moments = [moment for moment in moments if moment.time_ms >= start_ms]
            for part in runs_of(moments):
                if run and part[0].time_ms - run[-1].time_ms > GAP_MS:
                    yield _Run(run, _taken(announced, run))
                    run = []
                beyond_ms = part[0].time_ms - query.to_ms
                # A session that began in the range is over within a day of it.
                if beyond_ms > MAX_SESSION_MS or (beyond_ms > 0 and not run):
                    if run:
                        yield _Run(run, _taken(announced, run))
                    return
                run += part
                while run[-1].time_ms - run[0].time_ms > MAX_SESSION_MS:
                    cut = bisect_right(run, run[0].time_ms + MAX_SESSION_MS, key=_time_ms)
                    yield _Run(run[:cut], _taken(announced, run[:cut]))
                    run = run[cut:]
        if run:
            yield _Run(run, _taken(announced, run))

    async def _run_before(
        self, asked: _Asked, device: str, edge_ms: int, announced: dict[int, Closing]
    ) -> list[Moment]:
        """Moments before `edge_ms` with no gap over 30 minutes among them and up to it, in order.

        `announced` gains what was announced of sessions among them.
        """
        run: list[Moment] = []
        if edge_ms == 0:
            return run
        start_ms = edge_ms
        upper = sort_key([device], bucket_start_ms(start_ms, BUCKET_SECONDS))
        async for bucket in self._buckets(asked, join_key(device) + "@", upper, backwards=True):
            announced |= bucket.closings
            for moment in reversed(bucket.moments):
                if moment.time_ms >= start_ms:
                    continue
                if edge_ms - moment.time_ms > GAP_MS:
                    return run[::-1]
                run.append(moment)
                edge_ms = moment.time_ms
        return run[::-1]

    async def _buckets(
        self, asked: _Asked, low: str, high: str, *, backwards: bool = False
    ) -> AsyncIterator[_Run]:
        """The active moments of the buckets between two sort keys, read page by page."""
        values = {":pk": asked.partition, ":low": low, ":high": high}
        options = {"Limit": _PAGE_ITEMS, "ScanIndexForward": not backwards}
        more: Any = None
        while True:
            start = {"ExclusiveStartKey": more} if more else {}
            rows, more = await self._query(
                "pk = :pk AND sk BETWEEN :low AND :high", values, **options, **start
            )
            for row in rows:
                if not has_expired(row, asked.now_ms):
                    bucket = _read(row)
                    asked.moments_read += len(bucket.moments)
                    yield bucket
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


_time_ms = attrgetter("time_ms")


def _read(row: Row) -> _Run:
    _, start_ms = split_sort_key(row["sk"])
    bucket = decode_bucket(start_ms, row["entries"], row["facts"], row["version"])
    closings = decode_closings(row.get("state", b""))
    return _Run(moments_in(bucket), {closing.started_ms: closing for closing in closings})


def _taken(announced: dict[int, Closing], run: list[Moment]) -> dict[int, Closing]:
    """What was announced of sessions in the run, taken out of what is known with all that is older."""
    passed = {start: announced.pop(start) for start in list(announced) if start <= run[-1].time_ms}
    return {start: closing for start, closing in passed.items() if start >= run[0].time_ms}


async def _merged(streams: list[AsyncGenerator[Found, None]], asked: _Asked) -> tuple[list[Found], bool]:
    """(the page out of several ordered streams, none read further than it needs; whether more may come)."""
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
    page: list[Found] = []
    while heads and len(page) < asked.query.limit:
        *_, number, found = heapq.heappop(heads)
        page.append(found)
        if asked.moments_read > MOST_MOMENTS:
            return page, True
        await push(number)
    return page, bool(heads)
