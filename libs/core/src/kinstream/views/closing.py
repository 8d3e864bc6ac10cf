"""Closing sessions: which are over, as which revision, and what they supersede. Pure.

A session of a given start only grows: its events are a set that nothing leaves, and what joins them never
comes apart. So its number of events tells whether it is still what was announced. A start that was
announced and is none any more (an earlier event joined its session to another) lies inside exactly one
session of today, and that one supersedes it. Hence nothing but announcements needs to be remembered, each
beside the events of the bucket that its session starts in (`Bucket.state` of the processor `activity`).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from kinstream.events import SESSION_CLOSED, format_time_ms
from kinstream.views.sessions import GAP_MS, Moment, Session, session_id, sessions_of, share_of

DUE_MARGIN_MS = 30_000
"""Longer than a commit takes: a look that is due sooner than this may come before the commit does."""
LATE_PAUSE_MS = 2 * 60_000
"""A late event waits so long for others, and its entry in the index of due buckets to be seen."""

MAX_TOLD_ACTIVITIES = 50
MAX_TOLD_CONTENTS = 100
"""What an announcement lists at most, so that it fits any message; it tells the true numbers beside."""


class Account(msgspec.Struct, frozen=True, array_like=True):
    """What a session came to, as it is announced. Activities are (name, engaged ms, events)."""

    ended_ms: int
    engaged_ms: int
    activities: tuple[tuple[str, int, int], ...]
    activity_count: int
    content_ids: tuple[str, ...]
    content_count: int
    supersedes: tuple[int, ...]
    """Starts of the sessions that were announced and are part of this one now."""


class Closing(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """The last announcement of a session of this start. `account` is there until it has been sent."""

    started_ms: int
    revision: int
    event_count: int
    superseded: int
    decided_at_ms: int
    account: Account | None = None

    def sent(self) -> "Closing":
        """The same, with nothing left to send."""
        return msgspec.structs.replace(self, account=None)


class Standing(NamedTuple):
    """How a session stands: the revision that it has been, or will be, announced as."""

    revision: int
    provisional: bool
    supersedes: tuple[int, ...]


class Decision(NamedTuple):
    """What to announce now, and when to look at the bucket again, if at all."""

    closings: list[Closing]
    look_again_ms: int | None


def closes_at_ms(session: Session, lateness_ms: int) -> int:
    """When, by the server's clock, neither a later nor a late event is expected to change it."""
    return session.ended_ms + 2 * GAP_MS + lateness_ms


def standing_of(session: Session, closings: Mapping[int, Closing]) -> Standing:
    """How a session stands, from what was announced of its device, by start."""
    supersedes = tuple(sorted(start for start in closings if session.started_ms < start <= session.ended_ms))
    last = closings.get(session.started_ms)
    if last is None:
        return Standing(1, provisional=True, supersedes=supersedes)
    settled = (last.event_count, last.superseded) == (session.event_count, len(supersedes))
    return Standing(last.revision + (not settled), not settled, supersedes)


def decide(
    moments: Sequence[Moment],
    closings: Mapping[int, Closing],
    bucket: range,
    now_ms: int,
    lateness_ms: int,
) -> Decision:
    """What a look at one bucket of a device (a range of ms) leads to, at this time of the server's clock.

    `moments` are in order and hold every run of events that reaches into the bucket, whole. The look takes
    in all sessions of these runs, because an event that came late here may have changed any of them. It is
    put off while a run that ends in the bucket is not over.
    """
    decided: list[Closing] = []
    again: list[int] = []
    for run in runs_of(moments):
        if run[-1].time_ms < bucket.start or run[0].time_ms >= bucket.stop:
            continue
        sessions = list(sessions_of(run))
        for session in sessions:
            standing = standing_of(session, closings)
            if not standing.provisional:
                continue
            over_ms = closes_at_ms(session, lateness_ms)
            if over_ms <= now_ms:
                decided.append(_closing(session, standing, now_ms))
            # Where the run goes on, a later bucket is looked at after this session is over.
            elif session is sessions[-1] and session.ended_ms in bucket:
                again.append(over_ms)
    return Decision(decided, min(again, default=None))


def runs_of(moments: Iterable[Moment]) -> list[list[Moment]]:
    """Moments cut wherever there is a gap: no session reaches over one."""
    runs: list[list[Moment]] = []
    for moment in moments:
        if runs and moment.time_ms - runs[-1][-1].time_ms <= GAP_MS:
            runs[-1].append(moment)
        else:
            runs.append([moment])
    return runs


def due_at_ms(due_ms: int, last_ms: int, now_ms: int, lateness_ms: int) -> int:
    """When to look at a bucket that an event joins now. `due_ms` is what stands, 0 where nothing does.

    What stands is kept where it is safely ahead, so that the index is written once a bucket. `last_ms` is
    the time of the last event that joins: a look that turns out too early puts the next one off itself.
    """
    if due_ms >= now_ms + DUE_MARGIN_MS:
        return due_ms
    return max(last_ms + 2 * GAP_MS + lateness_ms, now_ms + LATE_PAUSE_MS)


def encode_closings(closings: Iterable[Closing]) -> bytes:
    """As stored, in order of start; nothing where there are none."""
    ordered = sorted(closings, key=lambda closing: closing.started_ms)
    return _encode(ordered) if ordered else b""


def decode_closings(state: bytes) -> list[Closing]:
    """What `encode_closings` wrote."""
    return _decode(state) if state else []


def announcement_id(app: str, customer_id: str, device_id: str, closing: Closing) -> str:
    """One a session and revision: a receiver drops repetitions by it."""
    return f"{session_id(app, customer_id, device_id, closing.started_ms)}-{closing.revision}"


def told(app: str, customer_id: str, device_id: str, closing: Closing) -> dict[str, Any]:
    """The body of `session.closed`, for a closing that has yet to be sent."""
    account = closing.account
    assert account is not None

    def named(started_ms: int) -> str:
        return session_id(app, customer_id, device_id, started_ms)

    return {
        "type": SESSION_CLOSED,
        "app": app,
        "customer_id": customer_id,
        "device_id": device_id,
        "session_id": named(closing.started_ms),
        "revision": closing.revision,
        "supersedes": [named(start) for start in account.supersedes],
        "started_at": format_time_ms(closing.started_ms),
        "ended_at": format_time_ms(account.ended_ms),
        "closed_at": format_time_ms(closing.decided_at_ms),
        "event_count": closing.event_count,
        "activities": [
            {
                "name": name,
                "seconds": engaged_ms / 1000,
                "share": share_of(engaged_ms, account.engaged_ms, events, closing.event_count),
                "events": events,
            }
            for name, engaged_ms, events in account.activities
        ],
        "activity_count": account.activity_count,
        "content_ids": list(account.content_ids),
        "content_count": account.content_count,
    }


def _closing(session: Session, standing: Standing, now_ms: int) -> Closing:
    account = Account(
        ended_ms=session.ended_ms,
        engaged_ms=session.engaged_ms,
        activities=tuple(
            (name, activity.engaged_ms, activity.events)
            for name, activity in session.by_priority()[:MAX_TOLD_ACTIVITIES]
        ),
        activity_count=len(session.activities),
        content_ids=tuple(session.content_ids)[:MAX_TOLD_CONTENTS],
        content_count=len(session.content_ids),
        supersedes=standing.supersedes,
    )
    return Closing(
        started_ms=session.started_ms,
        revision=standing.revision,
        event_count=session.event_count,
        superseded=len(standing.supersedes),
        decided_at_ms=now_ms,
        account=account,
    )


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Closing]).decode
