"""Closes sessions: looks at buckets that are due, stores what is announced, announces it, and marks it sent.

Guarantee: every revision of a session is announced with one content, at least once, under one id: the
content is stored before it is sent and until it has been. Two that look at once harm nothing, because each
write is on condition of the bucket's version; one that dies leaves work that the next look finds.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.ledger_format import bucket_start_ms
from kinstream.views.closing import Closing, decide, decode_closings
from session_worker.engine.announcing import Announcer, Pending
from session_worker.engine.due_buckets import (
    BUCKET_MS,
    BUCKET_SECONDS,
    Conflict,
    DueBuckets,
    Row,
    Stretch,
)

log = logging.getLogger(__name__)

SETTLING_MS = 60_000
"""What was stored less than this ago is left to whoever stored it."""

_AT_ONCE = 16
_MARK_ATTEMPTS = 5


class Closer:
    """Looks at buckets of the processor `activity`. `lateness_ms`: see `views.closing.closes_at_ms`."""

    def __init__(
        self, buckets: DueBuckets, announcer: Announcer, lateness_ms: int, now_ms: Callable[[], int]
    ) -> None:
        self._buckets = buckets
        self._announcer = announcer
        self._lateness_ms = lateness_ms
        self._now_ms = now_ms

    async def close(self, rows: Sequence[Row]) -> set[Row]:
        """Look at these buckets and do all that follows; those that must be looked at again."""
        by_device: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for row in rows:
            by_device[row.pk, row.series].append(row)
        pending: list[Pending] = []
        gate = asyncio.Semaphore(_AT_ONCE)
        looks = [self._look_at_device(of_device, pending, gate) for of_device in by_device.values()]
        answers = await asyncio.gather(*looks, return_exceptions=True)
        # What has been stored is announced, whatever became of the other looks.
        announced = await self._announcer.announce(pending)
        marks = await asyncio.gather(*map(self.mark, announced), return_exceptions=True)
        unfinished = {one.row for one in pending} - {one.row for one in announced}
        for answer in [*answers, *marks]:
            if isinstance(answer, BaseException):
                raise answer
            unfinished |= answer or set()
        return unfinished

    async def _look_at_device(
        self, rows: Iterable[Row], pending: list[Pending], gate: asyncio.Semaphore
    ) -> set[Row]:
        unfinished = set()
        # One after another: neighbours often see the same sessions.
        async with gate:
            for row in rows:
                try:
                    if not await self.look(row, pending):
                        unfinished.add(row)
                except Conflict:
                    unfinished.add(row)
                except Exception as error:
                    if isinstance(error, BotoCoreError | ClientError | OSError) and not _is_full(error):
                        raise
                    # A full item, or a bug: others must not wait for it, and its sessions stay provisional.
                    log.exception("bucket takes no closing")
        return unfinished

    async def look(self, row: Row, pending: list[Pending]) -> bool:
        """Decide what follows from a bucket and store it; `pending` gains what must be announced.

        False where it must be looked at again once that has happened. Conflict: somebody else was first.
        """
        now_ms = self._now_ms()
        stretch = await self._buckets.stretch(row, now_ms)
        bucket = stretch.buckets.get(row.start_ms)
        if bucket is None or bucket.due_at_ms > now_ms:
            return True
        closings = stretch.closings()
        stored = {(one.row.whose, one.closing) for one in pending}
        left = [closing for closing in closings.values() if closing.account]
        left = [closing for closing in left if (row.whose, closing) not in stored]
        if left:
            return self._take_over(row, left, pending, now_ms)
        in_bucket = range(row.start_ms, row.start_ms + BUCKET_MS)
        decision = decide(stretch.moments(), closings, in_bucket, now_ms, self._lateness_ms)
        await self._store(row, stretch, decision.closings, pending)
        if decision.look_again_ms and not decision.closings:
            await self._buckets.write(row, bucket, [], decision.look_again_ms)
            return True
        # Put off only when nothing is left to send: until then the row is what finds it.
        return decision.look_again_ms is None

    def _take_over(self, row: Row, left: Iterable[Closing], pending: list[Pending], now_ms: int) -> bool:
        """Announce what somebody stored and may have died before sending."""
        for closing in left:
            if closing.decided_at_ms > now_ms - SETTLING_MS:
                raise Conflict
            pending.append(Pending(row, closing))
        return False

    async def _store(
        self, row: Row, stretch: Stretch, closings: Iterable[Closing], pending: list[Pending]
    ) -> None:
        by_bucket: dict[int, list[Closing]] = defaultdict(list)
        for closing in closings:
            by_bucket[bucket_start_ms(closing.started_ms, BUCKET_SECONDS)].append(closing)
        for start_ms, of_bucket in by_bucket.items():
            await self._buckets.write(row, stretch.buckets[start_ms], of_bucket)
            pending += [Pending(row, closing) for closing in of_bucket]

    async def mark(self, announced: Pending) -> set[Row]:
        """Remember that it was sent. Where that fails it is sent again, under its id."""
        for _ in range(_MARK_ATTEMPTS):
            try:
                bucket = await self._buckets.bucket(announced.row, announced.closing.started_ms)
                if announced.closing in decode_closings(bucket.state):
                    await self._buckets.write(announced.row, bucket, [announced.closing.sent()])
            except Conflict:
                continue
            return set()
        return {announced.row}


def _is_full(error: Exception) -> bool:
    return isinstance(error, ClientError) and error.response["Error"]["Code"] == "ValidationException"
