"""Brings events back from the quarantine: mends them, sends them again, and keeps a record of it.

An event leaves the quarantine only after the API has said that it is durable, and its record below
`recovered/` is written before it leaves. So a run that is cut short loses nothing, and the next one goes
on where it stopped: what is in the record is not sent again, and what was sent but not recorded yet counts
once by its id and time.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

import msgspec

from ingest_api.judgement import MAX_EVENT_BYTES, BadEvent, judge, occurred_ms
from ingest_api.rules import Rules
from kinstream.events import format_time_ms
from kinstream_devkit.mending import MendError
from kinstream_devkit.quarantine import RECOVERED, Entry, QuarantineStore, Selection, StoredObject, entry_of
from kinstream_devkit.resending import MAX_BYTES, MAX_EVENTS

ARCHIVED = frozenset({"occurred_at_too_old", "occurred_at_in_future"})
"""Reasons with which an event was archived all the same: only another time could make it count."""

_THREADS = 8

Fate = Literal["send", "skipped", "archived", "not_kept", "unmendable", "still_bad", "not_meant", "done"]


@dataclass(slots=True)
class Line:
    """A line of an object and what is to become of it."""

    text: bytes
    entry: Entry
    fate: Fate
    mended: bytes = b""
    code: str = ""
    detail: str = ""


@dataclass(slots=True)
class Plan:
    """An object of the quarantine, decided line by line."""

    stored: StoredObject
    lines: list[Line]

    def sending(self) -> list[Line]:
        """The lines to send."""
        return [line for line in self.lines if line.fate == "send"]


@dataclass(slots=True)
class Report:
    """What a run did, in events."""

    recovered: int = 0
    already_recovered: int = 0
    skipped: int = 0
    archived: int = 0
    not_kept: int = 0
    still_bad: Counter[str] = field(default_factory=Counter)
    """By the reason that a mended event still has. They stay where they are."""
    refused_again: Counter[str] = field(default_factory=Counter)
    """By the API's reason. Each is in the quarantine anew, once, in place of the one that was sent."""
    unmendable: Counter[str] = field(default_factory=Counter)
    """By what went wrong while mending."""


class Planner:
    """Decides on each event. Pure: the same object, records and rules give the same plan."""

    def __init__(
        self, selection: Selection, mend: Callable[[Entry], bytes | None], rules: Rules | None
    ) -> None:
        self._selection = selection
        self._mend = mend
        self._rules = rules

    def plan(self, stored: StoredObject, lines: Iterable[bytes], recorded: frozenset[str]) -> Plan:
        """`recorded` holds the hashes of lines that are in the object's record."""
        return Plan(stored, [self._line(text, recorded) for text in lines])

    def _line(self, text: bytes, recorded: frozenset[str]) -> Line:
        line = Line(text, entry_of(text), "not_meant")
        if line_hash(text) in recorded:
            line.fate = "done"
        elif self._selection.has(line.entry):
            self._decide(line)
        return line

    def _decide(self, line: Line) -> None:
        if bytes(line.entry.event) == b"null":
            line.fate = "not_kept"
            return
        try:
            mended = self._mend(line.entry)
            if mended is None:
                line.fate = "skipped"
                return
            event = judge(mended)
            occurred_ms(event)
            if {line.entry.reason, line.entry.first_reason} & ARCHIVED and event.occurred_at == _time_of(
                line.entry
            ):
                line.fate = "archived"
                return
            line.mended = self._rules.apply(event, mended) if self._rules else mended
            line.fate = "send"
        except MendError as error:
            line.fate, line.detail = "unmendable", str(error)
        except BadEvent as bad:
            line.fate, line.code, line.detail = "still_bad", bad.code, bad.detail


class Recovery:
    """One run over the quarantine. Two runs at once do no harm but send some events twice."""

    def __init__(
        self,
        store: QuarantineStore,
        planner: Planner,
        send: Callable[[Sequence[bytes]], Mapping[int, str]],
        now_ms: Callable[[], int],
    ) -> None:
        self._store = store
        self._planner = planner
        self._send = send
        self._now_ms = now_ms
        self._report = Report()

    def run(self, selection: Selection, *, dry_run: bool, progress: Callable[[int, int], None]) -> Report:
        """`progress(objects done, objects in all)` is called now and then. `dry_run` writes nothing."""
        objects = self._store.objects(selection)
        records = {one.key for one in self._store.objects(selection, recovered=True)}
        waiting: list[Plan] = []
        for done, (stored, lines) in enumerate(self._store.read_all(objects)):
            progress(done, len(objects))
            recorded = self._recorded(stored.key) if RECOVERED + stored.key in records else frozenset()
            waiting.append(self._planner.plan(stored, lines, recorded))
            if _is_full(waiting):
                self._carry_out(waiting, dry_run=dry_run)
                waiting = []
        self._carry_out(waiting, dry_run=dry_run)
        progress(len(objects), len(objects))
        return self._report

    def _recorded(self, key: str) -> frozenset[str]:
        lines = self._store.lines(RECOVERED + key)
        return frozenset(msgspec.json.decode(line)["line"] for line in lines)

    def _carry_out(self, plans: Sequence[Plan], *, dry_run: bool) -> None:
        sending = [line for plan in plans for line in plan.sending()]
        if sending and not dry_run:
            for place, code in self._send([line.mended for line in sending]).items():
                sending[place].code = code
        if not dry_run:
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(self._settle, plans))
        for plan in plans:
            for line in plan.lines:
                self._count(line)

    def _settle(self, plan: Plan) -> None:
        """Write down what was sent, then take it out of the quarantine: in this order."""
        key = plan.stored.key
        if sent := plan.sending():
            recovered_at = format_time_ms(self._now_ms())
            records = [_record(line, recovered_at) for line in sent]
            self._store.write(RECOVERED + key, [*self._store.lines(RECOVERED + key), *records])
        left = [_kept(line) for line in plan.lines if line.fate not in {"send", "done"}]
        if left != [line.text for line in plan.lines]:
            self._store.write(key, left)

    def _count(self, line: Line) -> None:
        report = self._report
        match line.fate:
            case "send" if line.code:
                report.refused_again[line.code] += 1
            case "send":
                report.recovered += 1
            case "done":
                report.already_recovered += 1
            case "skipped":
                report.skipped += 1
            case "archived":
                report.archived += 1
            case "not_kept":
                report.not_kept += 1
            case "still_bad":
                report.still_bad[line.code] += 1
            case "unmendable":
                report.unmendable[line.detail] += 1


def line_hash(text: bytes) -> str:
    """By which a line is found again in a record."""
    return sha256(text).hexdigest()


def _is_full(plans: Sequence[Plan]) -> bool:
    lines = [line for plan in plans for line in plan.lines]
    size_bytes = sum(len(line.text) for line in lines)
    return len(lines) >= MAX_EVENTS or size_bytes >= MAX_BYTES - MAX_EVENT_BYTES


def _record(line: Line, recovered_at: str) -> bytes:
    values: dict[str, Any] = msgspec.structs.asdict(line.entry)
    values |= {"recovered_at": recovered_at, "refused_again": line.code or None, "line": line_hash(line.text)}
    return msgspec.json.encode(values | {"mended": msgspec.Raw(line.mended)})


def _kept(line: Line) -> bytes:
    """The line as it stays: the event untouched, with the reason that it has now."""
    if line.fate != "still_bad" or (line.code, line.detail) == (line.entry.reason, line.entry.detail):
        return line.text
    first = line.entry.first_reason or line.entry.reason
    return msgspec.json.encode(
        msgspec.structs.replace(line.entry, reason=line.code, detail=line.detail, first_reason=first)
    )


def _time_of(entry: Entry) -> Any:
    value = entry.value
    return value.get("occurred_at") if isinstance(value, dict) else None
