"""A family's sessions as bars: geometry and colours that the terminal and the page share."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kinstream_devkit.reference.events import Session

PALETTE = ("#2a78b8", "#e08a2e", "#3f9b58", "#c4527a", "#7a62b8", "#8a7a4a", "#3a9d9d", "#a05a3a")
"""Colours of activities, in order of first use; readable on light and on dark ground."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a bar: what was done, and its share of the bar."""

    name: str
    share: float
    color: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One session."""

    day: str
    clock: str
    device: str
    minutes: float
    events: int
    contents: tuple[str, ...]
    start_share: float
    """Where in the day it begins, 0 to 1."""
    width_share: float
    segments: tuple[Segment, ...]


def bars_of(sessions: Sequence[Session]) -> list[Bar]:
    """Bars in order of time."""
    ordered = sorted(sessions, key=lambda session: (session.started_at, session.device_id))
    colors = colors_of(ordered)
    return [_bar(session, colors) for session in ordered]


def colors_of(sessions: Sequence[Session]) -> dict[str, str]:
    """A colour for each activity."""
    names = dict.fromkeys(activity.name for session in sessions for activity in session.activities)
    return {name: PALETTE[index % len(PALETTE)] for index, name in enumerate(names)}


def _bar(session: Session, colors: dict[str, str]) -> Bar:
    seconds = (session.ended_at - session.started_at).total_seconds()
    return Bar(
        day=f"{session.started_at:%a %d %b}",
        clock=f"{session.started_at:%H:%M}-{session.ended_at:%H:%M}",
        device=session.device_id or "no device",
        minutes=seconds / 60,
        events=session.event_count,
        contents=session.content_ids,
        start_share=_share_of_day(session.started_at),
        width_share=min(seconds / 86_400, 1 - _share_of_day(session.started_at)),
        segments=tuple(Segment(a.name, a.share, colors[a.name]) for a in session.activities if a.share),
    )


def _share_of_day(moment: datetime) -> float:
    return (moment.hour * 3600 + moment.minute * 60 + moment.second) / 86_400
