"""Which events of a body are taken, and in what bytes they travel on. Pure: no clock, no I/O.

An accepted event keeps the client's own bytes: the server's fields are written before their closing
brace, so that nothing is decoded and encoded again. Admitting the same body twice gives the same.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from ingest_api import bodies
from ingest_api.bodies import Raw
from ingest_api.judgement import (
    MAX_EVENT_BYTES,
    UNDECODABLE,
    BadEvent,
    Window,
    check_payload,
    check_time,
    could_be_deep,
    id_of,
    judge,
    occurred_ms,
)
from kinstream.events import ClientEvent


class Refused(NamedTuple):
    """An item that is no event: the client's own bytes, for the quarantine, and why."""

    original: bytes
    verdict: BadEvent


Item = bytes | Refused
"""JSON of a native event (`kinstream.events.ClientEvent`), or what could not become one."""


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


@dataclass(slots=True)
class Admission:
    """What becomes of a body's events."""

    pieces: list[bytes] = field(default_factory=list)
    """Events to publish, each one as JSON of `kinstream.events.Event`."""
    types: set[str] = field(default_factory=set)
    accepted: int = 0
    rejected: list[Rejection] = field(default_factory=list)
    quarantined: list[Quarantined] = field(default_factory=list)


def admit(body: bytes, now_ms: int, retention_ms: int) -> Admission:
    """Judge a whole body, decompressed. ApiError where the body itself cannot be taken.

    `now_ms` is the server's clock, `retention_ms` how far back events count.
    """
    body = body.strip()
    window = Window.at(now_ms, retention_ms)
    form = bodies.typed(body)
    if form is not None:
        events, raws = form
        bodies.check_count(len(events))
        if _is_plain(body, raws) and (admission := _take_all(events, raws, now_ms, window)):
            return admission
    return _judge_each(bodies.split(body), now_ms, window)


def admit_items(items: Sequence[Item], now_ms: int, retention_ms: int) -> Admission:
    """Judge events that a dialect translated; `index` of a rejection is the item's."""
    return _judge_each(items, now_ms, Window.at(now_ms, retention_ms))


def _is_plain(body: bytes, raws: Sequence[Raw]) -> bool:
    """Whether every event is UTF-8, within its limit of bytes, and surely not nested too deep.

    Judged by all bytes of each event, since what a decoder drops (a key said twice, white space) travels on.
    """
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError:
            return False
    return not any(
        view.nbytes > MAX_EVENT_BYTES or could_be_deep(view) for view in (memoryview(raw) for raw in raws)
    )


def _take_all(
    events: list[ClientEvent], raws: Sequence[Raw], now_ms: int, window: Window
) -> Admission | None:
    """All of them, or None where one is not in order: `_judge_each` then finds which and why."""
    earliest_ms, latest_ms = window
    tail = b',"received_at_ms":%d}' % now_ms
    stamp = b',"occurred_at_ms":%d'
    pieces = []
    types = set()
    try:
        for event, raw in zip(events, raws, strict=True):
            time_ms = occurred_ms(event)
            if not earliest_ms <= time_ms <= latest_ms:
                return None
            check_payload(event)
            types.add(event.type)
            pieces.append(b"".join((memoryview(raw)[:-1], stamp % time_ms, tail)))
    except (*UNDECODABLE, BadEvent, ValueError):
        return None
    return Admission(pieces, types, len(pieces))


def _judge_each(items: Sequence[Item], now_ms: int, window: Window) -> Admission:
    admission = Admission()
    for index, item in enumerate(items):
        raw = item.original if isinstance(item, Refused) else item
        try:
            if isinstance(item, Refused):
                raise item.verdict
            event = judge(raw)
            time_ms = occurred_ms(event)
        except BadEvent as bad:
            _reject(admission, index, raw, bad)
            continue
        counted = b""
        try:
            check_time(time_ms, window)
            admission.accepted += 1
        except BadEvent as bad:
            # It goes to the archive all the same: it happened, though nobody can count it any more.
            _reject(admission, index, raw, bad)
            counted = b',"counted":false'
        admission.types.add(event.type)
        admission.pieces.append(
            b'%b,"occurred_at_ms":%d,"received_at_ms":%d%b}' % (raw[:-1], time_ms, now_ms, counted)
        )
    return admission


def _reject(admission: Admission, index: int, raw: bytes, bad: BadEvent) -> None:
    admission.rejected.append(Rejection(index, id_of(raw), bad.code, bad.detail))
    admission.quarantined.append(Quarantined(bad.code, bad.detail, _as_json_or_text(raw)))


def _as_json_or_text(raw: bytes) -> msgspec.Raw | str:
    try:
        raw.decode()
        # On one line, because the quarantine is written a line an event.
        return msgspec.Raw(msgspec.json.format(raw, indent=-1))
    except UNDECODABLE:
        return raw.decode(errors="replace")
