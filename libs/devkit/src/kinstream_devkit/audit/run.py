"""One audit of one app: archive in, drift out.

Events may go on arriving meanwhile. Where something differs, everything is read once more, after the queues
have drained, and what then agrees is no drift.
"""

import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from kinstream.events import parse_time_ms
from kinstream.resources import Names
from kinstream.views.sessions import MAX_SESSION_MS
from kinstream_devkit.audit.archived import ArchiveReader
from kinstream_devkit.audit.backlog import Backlog, Journal
from kinstream_devkit.audit.drift import Drift, content_drift, customer_drift, session_drift
from kinstream_devkit.audit.recompute import Recomputed, Session
from kinstream_devkit.audit.served import Answer, Served, counted_for
from kinstream_devkit.demo.client import DemoClient
from session_worker.engine.groups import MAX_QUEUED_MS

PROCESSORS = ("activity", "archive", "content")
"""Whose results are compared, and the one that they are compared with."""

_BATCH = 200
_DAY = timedelta(days=1)
_FIRST, _LAST = date(1971, 1, 1), date(2200, 1, 1)


class Teller(Protocol):
    """Hears how far it is."""

    def at(self, what: str, done: int, total: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Span:
    """Days in UTC, the last included."""

    first: date = _FIRST
    last: date = _LAST

    @property
    def from_ms(self) -> int:
        return _start_ms(self.first)

    @property
    def to_ms(self) -> int:
        """The first moment after it."""
        return _start_ms(self.last + _DAY)

    def has(self, day: str) -> bool:
        """Whether it has this day."""
        return self.first.isoformat() <= day <= self.last.isoformat()


@dataclass(frozen=True, slots=True)
class Sources:
    """Where an audit reads. `client` asks the API for the app."""

    s3: Any
    sqs: Any
    dynamodb: Any
    client: Callable[[], DemoClient]
    names: Names


@dataclass(frozen=True, slots=True)
class Terms:
    """How an audit is done."""

    span: Span
    retention_ms: int
    """How long the ledger keeps what sessions are made of."""
    wait_seconds: float
    now_ms: Callable[[], int]


@dataclass(slots=True)
class Result:
    """What an audit found."""

    drifts: list[Drift] = field(default_factory=list)
    events: int = 0
    sessions: int = 0
    customers: int = 0
    counters_of_customers: int = 0
    counters_of_contents: int = 0
    partial_customers: int = 0
    """Whose counters were left out: the archive holds more of them than the span."""
    partial_contents: int = 0
    expired_sessions: int = 0
    """Left out: older than the ledger keeps."""
    ambiguous: int = 0
    under_way: int = 0


class Audit:
    """Audits one app. `only`, in the second look, are the customers and contents that differed."""

    def __init__(self, app: str, sources: Sources, terms: Terms, teller: Teller, folder: Path) -> None:
        self._app = app
        self._sources = sources
        self._terms = terms
        self._teller = teller
        self._backlog = Backlog(
            sources.sqs, sources.names, PROCESSORS, Journal(sources.dynamodb, sources.names)
        )
        self._reader = ArchiveReader(
            sources.s3,
            sources.names,
            app,
            folder,
            lambda done, total: teller.at("archive files read", done, total),
        )
        self._folder = folder
        self._result = Result()

    async def run(self) -> Result:
        """Look, and where something differs look again."""
        first = await self._look(None)
        if not first.drifts:
            return first
        self._teller.at("values that differ, looked at once more", 0, len(first.drifts))
        again = await self._look({(drift.kind == "content", drift.subject) for drift in first.drifts})
        first.drifts, first.under_way = again.drifts, again.under_way
        return first

    async def _look(self, only: Collection[tuple[bool, str]] | None) -> Result:
        self._result = Result()
        self._result.under_way = self._backlog.wait(
            self._terms.wait_seconds, lambda left: self._teller.at("messages still under way", left, left)
        )
        with _recomputed(self._folder) as archived:
            outside, far = self._load(archived)
            customers, contents = self._subjects(archived, whole=not outside)
            if only is not None:
                customers = [name for name in customers if (False, name) in only]
                contents = {name: wanted for name, wanted in contents.items() if (True, name) in only}
            elsewhere = self._mentioned_elsewhere(archived, far)
            async with self._sources.client() as client:
                await self._compare_customers(archived, Served(client), customers, elsewhere[0])
                await self._compare_contents(Served(client), contents, elsewhere[1])
        return self._result

    def _load(self, archived: Recomputed) -> tuple[set[str], set[str]]:
        """Load the span's dates, and those around it that its sessions reach into.

        Returns (dates outside of the span, those of them that were not loaded).
        """
        span, dates = self._terms.span, set(self._reader.keys_by_date())
        first = span.first - _DAY
        inside = {day for day in dates if span.has(day)}
        after = (span.last + _DAY).isoformat()
        while True:
            wanted = {day for day in dates if first.isoformat() <= day <= after}
            files = self._reader.copies(wanted)
            archived.load(files)
            # A session's start hangs on where its run of events began, which may be days ago.
            earlier = (first - _DAY).isoformat()
            if earlier not in dates or not archived.reaches_back(_start_ms(first), span.from_ms):
                break
            first -= _DAY
        self._result.events, self._result.ambiguous = archived.events, archived.ambiguous
        return dates - inside, dates - inside - wanted

    def _subjects(self, archived: Recomputed, *, whole: bool) -> tuple[list[str], dict[str, tuple[int, int]]]:
        """Customers, and contents with their (likes, views), that are to be compared."""
        customers = set(archived.customers(self._terms.span.from_ms, self._terms.span.to_ms))
        contents = archived.contents()
        if whole:
            counted = counted_for(self._sources.dynamodb, self._sources.names, self._app)
            customers |= counted[0]
            contents = dict.fromkeys(counted[1], (0, 0)) | contents
        return sorted(customers), contents

    def _mentioned_elsewhere(self, archived: Recomputed, far: set[str]) -> tuple[set[str], set[str]]:
        """(customers, contents) that the archive mentions outside of the span."""
        span = self._terms.span
        near = archived.outside(span.from_ms, span.to_ms)
        customers, contents = self._reader.mentioned(far)
        return near[0] | customers, near[1] | contents

    async def _compare_customers(
        self, archived: Recomputed, served: Served, customers: Sequence[str], elsewhere: set[str]
    ) -> None:
        span, result = self._terms.span, self._result
        for start in range(0, len(customers), _BATCH):
            self._teller.at("customers compared", start, len(customers))
            batch = customers[start : start + _BATCH]
            whole = [customer for customer in batch if customer not in elsewhere]
            expected: dict[str, list[Session]] = {customer: [] for customer in batch}
            for session in archived.sessions(batch[0], batch[-1], span.from_ms, span.to_ms):
                if session.customer_id in expected:
                    expected[session.customer_id].append(session)
            found = await served.sessions(batch, span.from_ms, span.to_ms)
            counters = await served.customers(whole)
            by_type = archived.by_type(batch[0], batch[-1])
            for customer in batch:
                result.drifts += self._session_drift(customer, expected[customer], found[customer])
            for customer in whole:
                result.drifts += customer_drift(customer, by_type.get(customer, {}), counters[customer])
            result.counters_of_customers += len(whole)
        result.customers = len(customers)
        result.partial_customers = len(customers) - result.counters_of_customers

    def _session_drift(
        self, customer: str, archived: Sequence[Session], served: Sequence[Answer]
    ) -> list[Drift]:
        """Sessions that the ledger keeps no longer, or in part, are left out; if they are served whole they
        must still be right."""
        old_ms = self._terms.now_ms() - self._terms.retention_ms - MAX_QUEUED_MS + MAX_SESSION_MS
        wanted = {(session.device_id, session.started_ms): session for session in archived}
        found = {(answer["device_id"], parse_time_ms(answer["started_at"])): answer for answer in served}
        in_both = wanted.keys() & found.keys()
        kept = [session for key, session in wanted.items() if key in in_both or key[1] >= old_ms]
        given = [answer for key, answer in found.items() if key in in_both or key[1] >= old_ms]
        self._result.expired_sessions += len(wanted) - len(kept)
        self._result.sessions += len(kept)
        return session_drift(customer, kept, given)

    async def _compare_contents(
        self, served: Served, contents: dict[str, tuple[int, int]], elsewhere: set[str]
    ) -> None:
        whole = sorted(contents.keys() - elsewhere)
        for start in range(0, len(whole), _BATCH):
            self._teller.at("contents compared", start, len(whole))
            found = await served.contents(whole[start : start + _BATCH])
            for content, answer in found.items():
                self._result.drifts += content_drift(content, contents[content], answer)
        self._result.counters_of_contents = len(whole)
        self._result.partial_contents = len(contents) - len(whole)


async def audit(app: str, sources: Sources, terms: Terms, teller: Teller) -> Result:
    """Audit an app in a folder of its own, which goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="kinstream-audit-") as folder:
        return await Audit(app, sources, terms, teller, Path(folder)).run()


@contextmanager
def _recomputed(folder: Path) -> Iterator[Recomputed]:
    with tempfile.TemporaryDirectory(dir=folder) as own:
        archived = Recomputed(Path(own))
        try:
            yield archived
        finally:
            archived.close()


def _start_ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
