"""How much of an app the archive holds, read only until it is enough."""

import asyncio
import io
import logging
from collections import Counter
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kinstream.errors import PermanentError
from recommender_trigger.domain.trigger import ArchiveCounts, Policy
from recommender_trigger.storage import keys_under, read_object

log = logging.getLogger(__name__)

_EVENTS_FOR_A_PAIR = 2


class ArchiveCensus:
    """Counts one app's archive. Files never change, so each is read once in a process's life.

    A repeated event is counted twice here, as is one whose file was merged while the old one is still there:
    the minimums are about orders of magnitude. Counting stops as soon as the policy's minimums are reached,
    so a large archive costs no more than a small one.
    """

    def __init__(self, s3: Any, bucket: str, prefix: str) -> None:
        self._s3 = s3
        self._bucket = bucket
        self._prefix = prefix
        self._of_file: dict[str, Counter[str]] = {}
        self._of_customer: Counter[str] = Counter()

    async def count(self, policy: Policy) -> ArchiveCounts:
        """What is there, at least as far as the policy asks."""
        if not self._is_enough(policy):
            there = set()
            async for key in keys_under(self._s3, self._bucket, self._prefix):
                if not key.endswith(".parquet"):
                    continue
                there.add(key)
                if key not in self._of_file:
                    self._of_file[key] = await self._read(key)
                    self._of_customer.update(self._of_file[key])
                if self._is_enough(policy):
                    return self._counts()
            # What is gone was merged: its events are in another file, which is counted by now.
            for key in self._of_file.keys() - there:
                self._of_customer.subtract(self._of_file.pop(key))
        return self._counts()

    async def _read(self, key: str) -> Counter[str]:
        try:
            body = await read_object(self._s3, self._bucket, key)
        except PermanentError:
            return Counter()  # gone meanwhile
        try:
            return Counter(await asyncio.to_thread(_customers, body))
        except (pa.ArrowException, OSError, TypeError, ValueError) as error:
            # No Parquet, damaged pages (an OSError): it counts for nothing, and the job will say so too.
            log.warning("archive file not counted", extra={"error": type(error).__name__})
            return Counter()

    def _counts(self) -> ArchiveCounts:
        customers = sum(events >= _EVENTS_FOR_A_PAIR for events in self._of_customer.values())
        return ArchiveCounts(self._of_customer.total(), customers)

    def _is_enough(self, policy: Policy) -> bool:
        counts = self._counts()
        return (
            counts.events >= policy.min_archived_events and counts.customers >= policy.min_archived_customers
        )


def _customers(parquet: bytes) -> list[str]:
    """Customer of each counted event of a file."""
    columns = pq.read_table(io.BytesIO(parquet), columns=["customer_id", "counted"]).to_pydict()
    return [
        customer
        for customer, counted in zip(columns["customer_id"], columns["counted"], strict=True)
        if counted and customer and isinstance(customer, str)
    ]
