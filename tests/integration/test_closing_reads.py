"""What the API says of a session, before and after it was announced, is what was announced."""

import itertools
import time
from typing import Any

from tests.support.closing import HOUR_MS, MINUTE_MS, household

_tests = itertools.count()

OF_BOTH = (
    *("session_id", "device_id", "started_at", "ended_at", "event_count"),
    *("revision", "supersedes", "activities", "content_ids"),
)


def sessions(app, **query: Any) -> list[dict[str, Any]]:
    return app.reader.get("/v1/customers/fam-1/sessions", params=query).json()["sessions"]


def base_ms() -> int:
    """An hour that is behind the real clock, by which the API judges, and ahead of the tests before."""
    return (time.time_ns() // 1_000_000 // HOUR_MS - 800 + 60 * next(_tests)) * HOUR_MS


def same(told: dict[str, Any], served: dict[str, Any]) -> bool:
    return all(told[name] == served[name] for name in OF_BOTH)


async def test_session_is_provisional_until_it_is_announced_and_again_when_a_late_event_changes_it(
    service, app
):
    start_ms = base_ms()
    async with household(service.settings) as home:
        home.app = app.name
        await home.count(start_ms, start_ms + 10 * MINUTE_MS)
        (served,) = sessions(app)
        assert (served["provisional"], served["revision"]) == (True, 1)
        (told,) = await home.close(start_ms + 3 * HOUR_MS)
        (served,) = sessions(app)
        assert not served["provisional"]
        assert same(told, served)
        await home.count(start_ms + 20 * MINUTE_MS, at_ms=start_ms + 50 * HOUR_MS)
        (served,) = sessions(app)
        assert (served["provisional"], served["revision"], served["event_count"]) == (True, 2, 3)
        (told,) = await home.close(start_ms + 51 * HOUR_MS)
        (served,) = sessions(app)
        assert not served["provisional"]
        assert same(told, served)


async def test_merged_session_names_what_it_supersedes_and_these_are_gone(service, app):
    start_ms = base_ms()
    async with household(service.settings) as home:
        home.app = app.name
        for minute in (40, 90, 400):
            await home.count(start_ms + minute * MINUTE_MS)
        one, other, apart = await home.close(start_ms + 20 * HOUR_MS)
        await home.count(
            *(start_ms + minute * MINUTE_MS for minute in (35, 65)), at_ms=start_ms + 50 * HOUR_MS
        )
        expected = [one["session_id"], other["session_id"]]
        merged, untouched = sessions(app)
        assert (merged["provisional"], merged["supersedes"]) == (True, expected)
        assert same(apart, untouched)
        (told,) = await home.close(start_ms + 51 * HOUR_MS)
        merged, untouched = sessions(app)
        assert told["supersedes"] == expected
        assert same(told, merged)
        assert not merged["provisional"]
        assert not untouched["provisional"]


async def test_every_page_and_range_says_the_same_of_how_a_session_stands(service, app):
    start_ms = base_ms()
    async with household(service.settings) as home:
        home.app = app.name
        # A run of more than a day, two sessions in one hour, and one over the border of an hour.
        always = [start_ms + place * 20 * MINUTE_MS for place in range(80)]
        more = [start_ms + 30 * HOUR_MS + minute * MINUTE_MS for minute in (1, 33, 55, 70)]
        for time_ms in (*always, *more):
            await home.count(time_ms)
        told = await home.close(start_ms + 40 * HOUR_MS)
        served = sessions(app)
        assert len(served) == len(told) == 4
        by_id = {one["session_id"]: one for one in told}
        assert all(same(by_id[one["session_id"]], one) and not one["provisional"] for one in served)
        cursor, paged = None, []
        while True:
            query = {"limit": 1} | ({"cursor": cursor} if cursor else {})
            page = app.reader.get("/v1/customers/fam-1/sessions", params=query).json()
            paged += page["sessions"]
            cursor = page["next"]
            if cursor is None:
                break
        assert paged == served
        for one in served:
            assert one in sessions(app, **{"from": one["started_at"], "to": one["ended_at"]})
