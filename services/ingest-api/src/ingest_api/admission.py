"""Which events of a body are taken, and in what bytes they travel on. Pure: no clock, no I/O.

An accepted event travels in the client's own bytes; what the server knows of it is said once a part.
Admitting the same body twice gives the same.
"""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple, Protocol

import msgspec

from ingest_api import bodies, quick
from ingest_api.judgement import (
    MAX_EVENT_BYTES,
    UNDECODABLE,
    BadEvent,
    Window,
    check_time,
    id_of,
    judge,
    occurred_ms,
)
from kinstream.chunks import MAX_CHUNK_BYTES, MAX_CHUNK_EVENTS, Part
from kinstream.events import ClientEvent

Raw = bytes | msgspec.Raw
"""The bytes of one event."""


_NOT_KEPT: msgspec.Raw | str = msgspec.Raw(b"null")


class Refused(NamedTuple):
    """An item that is no event: the client's own bytes, for the quarantine, and why."""

    original: bytes
    verdict: BadEvent


Item = bytes | Refused
"""JSON of a native event (`kinstream.events.ClientEvent`), or what could not become one."""


class EventRules(Protocol):
    """What an app wants done to its events beside what is done to all."""

    @property
    def concern_events(self) -> bool:
        """Whether `apply` could change or refuse any event at all."""

    def apply(self, event: ClientEvent, raw: bytes) -> bytes:
        """What is kept of a good event; BadEvent where the app does not want it."""

    def scrub(self, raw: bytes) -> bytes | None:
        """What may be kept of an event that is not taken."""


class Rejection(msgspec.Struct, frozen=True):
    """What the sender hears of an event that was not counted."""

    index: int
    id: str | None
    error: str
    detail: str


class Quarantined(msgspec.Struct, frozen=True):
    """What the quarantine keeps of it. `event` is JSON where it is any, else the text as it came."""

    reason: str
    detail: str
    event: msgspec.Raw | str


class Admission(msgspec.Struct):
    """What becomes of a body's events."""

    parts: list[Part] = msgspec.field(default_factory=list)
    """Events to publish. Each part fits into a chunk."""
    types: set[str] = msgspec.field(default_factory=set)
    accepted: int = 0
    rejected: list[Rejection] = msgspec.field(default_factory=list)
    quarantined: list[Quarantined] = msgspec.field(default_factory=list)

    @property
    def count(self) -> int:
        """All events of the body, good or bad."""
        return self.accepted + len(self.rejected)


def admit(body: bytes, now_ms: int, retention_ms: int, rules: EventRules | None = None) -> Admission:
    """Judge a whole body, decompressed. ApiError where the body itself cannot be taken.

    `now_ms` is the server's clock, `retention_ms` how far back events count.
    """
    body = body.strip()
    plain = rules is None or not rules.concern_events
    if plain and (admission := _take_all(body, now_ms, retention_ms)):
        return admission
    return _judge_each(bodies.split(body), now_ms, Window.at(now_ms, retention_ms), rules)


def admit_items(
    items: Sequence[Item], now_ms: int, retention_ms: int, rules: EventRules | None = None
) -> Admission:
    """Judge events that a dialect translated; `index` of a rejection is the item's."""
    return _judge_each(items, now_ms, Window.at(now_ms, retention_ms), rules)


def _take_all(body: bytes, now_ms: int, retention_ms: int) -> Admission | None:
    """All of them, or None where one is not in order: `_judge_each` then finds which and why."""
    found = quick.read(body)
    if found is None or not found.events:
        return None
    count = len(found.events)
    bodies.check_count(count)
    if not quick.in_time(found.events, now_ms, retention_ms):
        return None
    if len(found.text) <= MAX_EVENT_BYTES and count <= MAX_CHUNK_EVENTS:
        return Admission([Part(found.text, count, now_ms)], found.types, count)
    raws = quick.elements(found.text)
    if any(memoryview(raw).nbytes > MAX_EVENT_BYTES for raw in raws):
        return None
    return Admission(_parts(raws, now_ms), found.types, count)


def _parts(raws: Sequence[Raw], now_ms: int, *, counted: bool = True) -> list[Part]:
    """As few parts as chunks can hold."""
    parts: list[Part] = []
    held: list[Raw] = []
    size_bytes = 0
    for raw in raws:
        size_bytes += memoryview(raw).nbytes + 1
        if held and (len(held) == MAX_CHUNK_EVENTS or size_bytes > MAX_CHUNK_BYTES):
            parts.append(Part(b",".join(held), len(held), now_ms, counted))
            held, size_bytes = [], memoryview(raw).nbytes + 1
        held.append(raw)
    if held:
        parts.append(Part(b",".join(held), len(held), now_ms, counted))
    return parts


def _judge_each(items: Sequence[Item], now_ms: int, window: Window, rules: EventRules | None) -> Admission:
    admission = Admission()
    taken: list[tuple[bool, bytes]] = []
    for index, item in enumerate(items):
        raw = item.original if isinstance(item, Refused) else item
        try:
            if isinstance(item, Refused):
                raise item.verdict
            event = judge(raw)
            time_ms = occurred_ms(event)
            if rules:
                raw = rules.apply(event, raw)
        except BadEvent as bad:
            _reject(admission, index, raw, bad, rules)
            continue
        try:
            check_time(time_ms, window)
            taken.append((True, raw))
        except BadEvent as bad:
            # It goes to the archive all the same: it happened, though nobody can count it any more.
            _reject(admission, index, raw, bad, rules)
            taken.append((False, raw))
        admission.types.add(event.type)
    admission.accepted = sum(counted for counted, _ in taken)
    for counted, run in groupby(taken, key=itemgetter(0)):
        admission.parts += _parts([raw for _, raw in run], now_ms, counted=counted)
    return admission


def _reject(admission: Admission, index: int, raw: bytes, bad: BadEvent, rules: EventRules | None) -> None:
    admission.rejected.append(Rejection(index, id_of(raw), bad.code, bad.detail))
    kept = rules.scrub(raw) if rules else raw
    event, detail = _NOT_KEPT, bad.detail
    if kept is None:
        detail += f" ({len(raw):,} bytes, not kept: the app's privacy switches)"
    else:
        event = _as_json_or_text(kept)
    admission.quarantined.append(Quarantined(bad.code, detail, event))


def _as_json_or_text(raw: bytes) -> msgspec.Raw | str:
    try:
        raw.decode()
        # On one line, because the quarantine is written a line an event.
        return msgspec.Raw(msgspec.json.format(raw, indent=-1))
    except UNDECODABLE:
        return raw.decode(errors="replace")
