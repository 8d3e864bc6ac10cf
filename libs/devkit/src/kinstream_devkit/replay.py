"""Runs a processor over the archive: for one that is newer than the events, or that was mended.

The archived events go as chunks into the processor's own queue, where the worker counts them like any
others; no other processor sees them. Guarantee: each counts exactly once, whether it was counted when it
came, by an earlier replay, or never, because the processor's ledger knows every event by its identity for as
long as it remembers. So a replay may be cut short at any moment, run again, or run twice at once.
"""

import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from botocore.exceptions import BotoCoreError, ClientError

from kinstream.chunks import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS, Chunk
from kinstream.errors import PermanentError, RetryableError
from kinstream.events import Event
from kinstream.resources import BUCKET_ARCHIVE, Names
from session_worker.processor import Processor, Reducer

_DAY_MS = 86_400_000
_ROWS_AT_ONCE = 2_000
_PART_BYTES = 80
"""What a chunk adds to an event that arrived alone, at most."""
_ROOT = "events/app="
_COLUMNS = list(Event.__struct_fields__)
_GONE = frozenset({"NoSuchKey", "404"})


@dataclass(frozen=True, slots=True)
class Span:
    """What to replay. Dates are those of occurrence, in UTC, both included; `app` None means every app."""

    processor: str
    first: date
    last: date
    app: str | None = None

    def identity(self) -> str:
        """A name for it that a file can have."""
        text = "\0".join((self.processor, self.first.isoformat(), self.last.isoformat(), self.app or ""))
        return f"{self.processor}-{blake2b(text.encode(), digest_size=8).hexdigest()}"


class ArchiveFile(NamedTuple):
    """A file of the archive and whose events it holds."""

    key: str
    app: str


@dataclass(slots=True)
class Report:
    """What a replay did."""

    files: int = 0
    events: int = 0
    done_before: int = 0
    """Files that an earlier run which was cut short had sent."""


def reducer_named(name: str, processors: Iterable[Processor]) -> Reducer:
    """The processor of this name; PermanentError where there is none, or none that can be replayed."""
    known = {processor.name: processor for processor in processors}
    found = known.get(name)
    if found is None:
        raise PermanentError(f"there is no processor {name}; there are {', '.join(sorted(known))}")
    if not isinstance(found, Reducer):
        raise PermanentError(
            f"{name} is no reducer and cannot be replayed: it judges events by what is known when they come, "
            "or writes files and would write them again"
        )
    return found


def rebuildable_named(name: str, processors: Iterable[Processor]) -> Reducer:
    """The processor of this name; PermanentError where it is none that can be counted anew."""
    found = reducer_named(name, processors)
    if not found.rebuildable:
        raise PermanentError(
            f"{name} cannot be rebuilt: what it counted was announced, or trainings were begun for it, and a "
            "second generation would do that again; `kinstream replay` counts what it has not counted"
        )
    return found


def check_span(span: Span, retention_seconds: int, now_ms: int) -> None:
    """PermanentError where events of the span may have been forgotten by the ledger."""
    if span.first > span.last:
        raise PermanentError(f"--from {span.first} is after --to {span.last}")
    earliest_ms = now_ms - retention_seconds * 1000
    earliest = datetime.fromtimestamp(-(-earliest_ms // _DAY_MS) * _DAY_MS / 1000, UTC).date()
    if span.first < earliest:
        raise PermanentError(
            f"events of {span.first} are older than the {retention_seconds / 86_400:,.0f} days that the "
            "ledger remembers, so what is counted already could be counted again; the earliest --from is "
            f"{earliest}, or raise KINSTREAM_LEDGER_RETENTION_SECONDS for what comes from now on"
        )


def events_of(parquet: bytes, takes: Callable[[Event], bool]) -> Iterator[Event]:
    """The counted events of an archive file that a processor takes, repetitions included."""
    for batch in pq.ParquetFile(io.BytesIO(parquet)).iter_batches(_ROWS_AT_ONCE, columns=_COLUMNS):
        rows = batch.filter(batch.column("counted")).to_pylist()
        events = (Event(**row | {"data": msgspec.Raw(row["data"].encode())}) for row in rows)
        yield from filter(takes, events)


def chunks_of(app: str, events: Iterable[Event]) -> Iterator[Chunk]:
    """The events cut into chunks as big as a message may be."""
    waiting: list[Event] = []
    size_bytes = 0
    for event in events:
        event_bytes = len(msgspec.json.encode(event)) + _PART_BYTES
        if waiting and (len(waiting) == MAX_CHUNK_EVENTS or size_bytes + event_bytes > MAX_CHUNK_BYTES):
            yield Chunk(app=app, events=waiting)
            waiting, size_bytes = [], 0
        waiting.append(event)
        size_bytes += event_bytes
    if waiting:
        yield Chunk(app=app, events=waiting)


class ReplayLog:
    """Which files are done, kept in a file until the whole replay is. A line that was cut short is none."""

    def __init__(self, folder: Path, span: Span) -> None:
        self._file = folder / span.identity()

    def done(self) -> set[str]:
        """Keys of the files whose events were all sent."""
        if not self._file.exists():
            return set()
        *lines, _cut_short = self._file.read_text().split("\n")
        return set(lines)

    def add(self, key: str) -> None:
        """Take note that a file is done."""
        self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._file.open("a") as file:
            file.write(f"{key}\n")

    def end(self) -> None:
        """The replay is complete: the next one begins anew."""
        self._file.unlink(missing_ok=True)


class Archive:
    """The archive bucket; RetryableError where S3 does not answer."""

    def __init__(self, s3: Any, names: Names) -> None:
        self._s3 = s3
        self._bucket = names.of(BUCKET_ARCHIVE)

    def files(self, span: Span) -> list[ArchiveFile]:
        """Files that hold events of the span, the oldest date first."""
        try:
            apps = [span.app] if span.app is not None else self._apps()
            found = [(key, app) for app in apps for key in self._keys(app, span)]
        except (BotoCoreError, ClientError) as error:
            raise _away(error) from error
        dated = sorted(found, key=lambda one: one[0].removeprefix(f"{_ROOT}{one[1]}/"))
        return [ArchiveFile(*one) for one in dated]

    def read(self, key: str) -> bytes | None:
        """A file's bytes; None where it is gone, which compaction does once another one holds its events."""
        try:
            body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
        except ClientError as error:
            if error.response["Error"]["Code"] in _GONE:
                return None
            raise _away(error) from error
        except BotoCoreError as error:
            raise _away(error) from error
        return body

    def _apps(self) -> list[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=_ROOT, Delimiter="/"
        )
        prefixes = [one["Prefix"] for page in pages for one in page.get("CommonPrefixes", [])]
        return [prefix.removeprefix(_ROOT).removesuffix("/") for prefix in prefixes]

    def _keys(self, app: str, span: Span) -> Iterator[str]:
        prefix = f"{_ROOT}{app}/dt="
        end = f"{prefix}{span.last + timedelta(days=1)}"
        pages = self._s3.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=prefix, StartAfter=f"{prefix}{span.first}"
        )
        for page in pages:
            for one in page.get("Contents", []):
                if one["Key"] >= end:
                    return
                if one["Key"].endswith(".parquet"):
                    yield one["Key"]


class Replay:
    """One run. `send(chunks)` returns how many events, once all of them are in the processor's queue."""

    def __init__(
        self,
        archive: Archive,
        log: ReplayLog,
        takes: Callable[[Event], bool],
        send: Callable[[Iterable[Chunk]], int],
    ) -> None:
        self._archive = archive
        self._log = log
        self._takes = takes
        self._send = send

    def run(
        self, span: Span, progress: Callable[[int, int, Report], None], *, is_last: bool = True
    ) -> Report:
        """Send what an earlier run has not. `progress(files done, files in all, ...)` after each file.

        Where it is not the last, another run sends only what is in the archive by then and is not now.
        """
        done = self._log.done()
        report = Report(done_before=len(done))
        complete = False
        while not complete:
            complete = True
            waiting = [file for file in self._archive.files(span) if file.key not in done]
            total = len(done) + len(waiting)
            for file in waiting:
                progress(len(done), total, report)
                sent = self._replay(file)
                # One that is gone was compacted: another listing names the file that has its events now.
                complete = complete and sent is not None
                report.events += sent or 0
                report.files += 1
                done.add(file.key)
                self._log.add(file.key)
        progress(len(done), len(done), report)
        if is_last:
            self._log.end()
        return report

    def _replay(self, file: ArchiveFile) -> int | None:
        body = self._archive.read(file.key)
        if body is None:
            return None
        try:
            return self._send(chunks_of(file.app, events_of(body, self._takes)))
        except pa.ArrowException as error:
            raise PermanentError(f"{file.key} is no file of the archive: {error}") from error


def _away(error: Exception) -> RetryableError:
    return RetryableError(
        f"the archive does not answer; run the same command again, it goes on where it stopped ({error})"
    )
