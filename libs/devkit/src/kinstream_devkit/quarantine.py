"""The quarantine as people meet it: which events were not counted, and why.

An object of the bucket is a request that had bad events, a line of it such an event. What `recover` has
sent again lies below `recovered/` under the same key.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from kinstream.errors import PermanentError, RetryableError
from kinstream.resources import BUCKET_QUARANTINE, Names

RECOVERED = "recovered/"
_KEY = re.compile(r"^app=(?P<app>.+)/dt=(?P<date>\d{4}-\d\d-\d\d)/[^/]+$")
_EVENT = re.compile(rb'"event"\s*:\s*(?=[{\[])')
_BRACKET = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[{}\[\]]', re.DOTALL)
"""A bracket, or a string, in which none counts."""
_THREADS = 8
_READ_AHEAD = 64


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One event that was not counted. `event` is its JSON, or its text where it is none, or null where the
    app's privacy switches let nothing be kept."""

    app: str
    received_at: str
    reason: str
    detail: str
    event: msgspec.Raw
    first_reason: str | None = None
    """Why it came here, where an attempt to recover it found another reason."""

    @property
    def value(self) -> Any:
        """The event, decoded: a dict, a text, or None."""
        return msgspec.json.decode(self.event)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object of the quarantine."""

    key: str
    app: str
    date: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events are meant; None means any. Dates are those of arrival, in UTC, both included."""

    app: str | None = None
    reason: str | None = None
    from_date: str | None = None
    to_date: str | None = None

    def has(self, entry: Entry) -> bool:
        """Whether an event of a meant object is meant."""
        return self.reason in {None, entry.reason, entry.first_reason}


@dataclass(frozen=True, slots=True)
class Summary:
    """Events of one app, arrived on one day, with one reason."""

    date: str
    app: str
    reason: str
    events: int
    newest: str


class QuarantineStore:
    """Reads and writes the bucket; RetryableError where S3 does not answer."""

    def __init__(self, s3: Any, names: Names) -> None:
        self._s3 = s3
        self._bucket = names.of(BUCKET_QUARANTINE)

    def objects(self, selection: Selection, *, recovered: bool = False) -> list[StoredObject]:
        """Objects that may hold what is meant, the newest day first."""
        root = RECOVERED if recovered else ""
        prefix = f"{root}app=" if selection.app is None else f"{root}app={selection.app}/dt="
        found = [
            StoredObject(key, match["app"], match["date"])
            for key in self._keys(prefix)
            if (match := _KEY.match(key.removeprefix(root)))
        ]
        first, last = selection.from_date or "", selection.to_date or "9999"
        meant = [one for one in found if first <= one.date <= last and selection.app in {None, one.app}]
        return sorted(meant, key=lambda one: (one.date, one.key), reverse=True)

    def read_all(self, objects: Sequence[StoredObject]) -> Iterator[tuple[StoredObject, list[bytes]]]:
        """(object, its lines) in order, read a little ahead."""
        with ThreadPoolExecutor(_THREADS) as pool:
            for start in range(0, len(objects), _READ_AHEAD):
                some = objects[start : start + _READ_AHEAD]
                yield from zip(some, pool.map(lambda one: self.lines(one.key), some), strict=True)

    def lines(self, key: str) -> list[bytes]:
        """The lines of an object; none where there is no such object."""
        with _answering():
            try:
                body: bytes = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"].read()
            except self._s3.exceptions.NoSuchKey:
                return []
        return [line for line in body.split(b"\n") if line.strip()]

    def write(self, key: str, lines: Iterable[bytes]) -> None:
        """Replace an object's lines in one step; an object without lines is deleted."""
        body = b"".join(line + b"\n" for line in lines)
        with _answering():
            if body:
                self._s3.put_object(
                    Bucket=self._bucket, Key=key, Body=body, ContentType="application/x-ndjson"
                )
            else:
                self._s3.delete_object(Bucket=self._bucket, Key=key)

    def _keys(self, prefix: str) -> Iterator[str]:
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        with _answering():
            for page in pages:
                yield from (found["Key"] for found in page.get("Contents", []))


_decode_entry = msgspec.json.Decoder(Entry).decode


def entry_of(line: bytes) -> Entry:
    """The event in a line; PermanentError where somebody else wrote it.

    An event that is nested too deep to be decoded here, though it was not where it was written, is its text.
    """
    try:
        try:
            return _decode_entry(line)
        except RecursionError:
            return _decode_entry(_with_event_as_text(line))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise PermanentError(f"a line of the quarantine is not in its form: {error}") from error


def _with_event_as_text(line: bytes) -> bytes:
    """The line, with the JSON object or array at `event` in a string. No recursion: it is deep."""
    start = found.end() if (found := _EVENT.search(line)) else len(line)
    levels = 0
    for match in _BRACKET.finditer(line, start):
        levels += (match[0] in {b"{", b"["}) - (match[0] in {b"}", b"]"})
        if not levels:
            return (
                line[:start] + msgspec.json.encode(line[start : match.end()].decode()) + line[match.end() :]
            )
    return line


def summarize(entries: Iterable[tuple[str, Entry]]) -> list[Summary]:
    """Counts of (day, event) by day, app and reason: the newest day first, the most frequent reason first."""
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    newest: dict[tuple[str, str, str], str] = {}
    for date, entry in entries:
        group = (date, entry.app, entry.reason)
        counts[group] += 1
        newest[group] = max(newest.get(group, ""), entry.received_at)
    summaries = [Summary(*group, count, newest[group]) for group, count in counts.items()]
    summaries.sort(key=lambda one: (one.app, -one.events, one.reason))
    return sorted(summaries, key=lambda one: one.date, reverse=True)


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (BotoCoreError, ClientError) as error:
        raise RetryableError(
            f"the quarantine does not answer; does the stack still run? ({error})"
        ) from error
