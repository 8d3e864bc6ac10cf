"""What families do with their stories: bursts of views, likes and screens on their devices."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from kinstream_devkit.generate.families import FAVOURITE_SHARE, THEMES, Family, Person, stories_by_theme

Event = dict[str, Any]

_SCREENS = ("home", "library", "settings", "family")
_ACTIVITIES = ("reading", "listening", "watching")
_EVENTS_A_SESSION = 8
_SUMMER_TIME = timezone(timedelta(hours=2))


def text_of(moment: datetime, *, local: bool = False) -> str:
    """RFC 3339 with milliseconds: in UTC with a Z, or as a device writes it that knows its offset."""
    if local:
        return moment.astimezone(_SUMMER_TIME).isoformat(timespec="milliseconds")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make_id(rng: random.Random) -> str:
    """An event id that no other event of this generator has."""
    return f"{rng.getrandbits(96):024x}"


class Storyteller:
    """Makes sessions of one family; it remembers which stories were seen and liked."""

    def __init__(self, rng: random.Random, family: Family) -> None:
        self._rng = rng
        self._family = family
        self._stories = stories_by_theme()
        self._seen: list[str] = []
        self._liked: set[str] = set()

    def session(self, start: datetime) -> list[Event]:
        """One burst on one device, in order of time; the next may be on another."""
        rng = self._rng
        device = rng.choice(self._family.devices)
        person = rng.choice((self._family.guardian, *self._family.children))
        activity = rng.choice(_ACTIVITIES)
        moment = start
        events: list[Event] = []
        for kind, data in self._steps(activity):
            events.append(self._event(kind, moment, device, person, data))
            moment += self._pause()
        return events

    def _steps(self, activity: str) -> Iterator[tuple[str, dict[str, Any]]]:
        rng = self._rng
        yield "screen.viewed", {"screen": rng.choice(_SCREENS), "activity": "browsing"}
        for _ in range(rng.randint(2, 7)):
            story = self._pick()
            data: dict[str, Any] = {"content_id": story}
            if rng.random() < 0.9:
                data["activity"] = activity
            yield "content.viewed", data
            if rng.random() < 0.3:
                yield self._change_of_mind(story), {"content_id": story}
            if rng.random() < 0.12:
                yield "screen.viewed", {"screen": rng.choice(_SCREENS), "activity": "browsing"}

    def _change_of_mind(self, story: str) -> str:
        if story in self._liked:
            self._liked.discard(story)
            return "content.unliked"
        self._liked.add(story)
        return "content.liked"

    def _pick(self) -> str:
        rng = self._rng
        if self._seen and rng.random() < 0.2:
            return rng.choice(self._seen)
        theme = rng.choice(THEMES)
        if rng.random() < FAVOURITE_SHARE:
            theme = self._family.favourites[rng.random() < 0.3]
        stories = self._stories[theme]
        # Earlier stories of a theme are more popular: the square of a uniform number leans to 0.
        story = stories[int(rng.random() ** 1.5 * len(stories))]
        if story not in self._seen:
            self._seen.append(story)
        return story

    def _pause(self) -> timedelta:
        """Mostly minutes; now and then longer than what counts as engaged, never a new session."""
        rng = self._rng
        kind = rng.random()
        low, high = (12, 170) if kind < 0.86 else (300, 1_100) if kind < 0.96 else (1_100, 1_790)
        return timedelta(milliseconds=rng.randint(low * 1000, high * 1000))

    def _event(self, kind: str, moment: datetime, device: str, person: Person, data: dict[str, Any]) -> Event:
        return {
            "id": make_id(self._rng),
            "type": kind,
            "customer_id": self._family.customer_id,
            "device_id": device,
            "person_id": person.person_id,
            "occurred_at": text_of(moment, local=device.startswith("desktop")),
            "data": data,
        }


def start_of_session(rng: random.Random, now: datetime, days: int) -> datetime:
    """A moment between 7 in the morning and 8 in the evening UTC, the day before yesterday or earlier.

    Late enough behind now that the longest session ends before it, at whatever hour the demo runs.
    """
    day = now - timedelta(days=rng.randint(2, days))
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + timedelta(milliseconds=rng.randint(7 * 3_600_000, 20 * 3_600_000))


def sessions_of_family(
    rng: random.Random, family: Family, now: datetime, days: int, least: int
) -> list[list[Event]]:
    """Sessions of the last days, of at least so many events in all."""
    starts = sorted(start_of_session(rng, now, days) for _ in range(least // _EVENTS_A_SESSION))
    teller = Storyteller(rng, family)
    sessions = [teller.session(start) for start in starts]
    while sum(map(len, sessions)) < least:
        sessions.append(teller.session(start_of_session(rng, now, days)))
    return sessions
