"""Sessions close once, and once more where a late event changes them, on the emulator under a moved clock."""

import asyncio

import pytest

from kinstream.events import format_time_ms
from kinstream.settings import CoreSettings
from kinstream.views.sessions import session_id
from tests.support.closing import (
    HOUR_MS,
    MINUTE_MS,
    OVER_MS,
    START_MS,
    KilledError,
    Life,
    contents,
    household,
)
from tests.support.engine import APP


def name_of(started_ms: int, device: str = "ipad-1") -> str:
    return session_id(APP, "fam-1", device, started_ms)


async def test_session_closes_once_when_its_time_has_come(settings: CoreSettings):
    async with household(settings) as home:
        first_ms, last_ms = START_MS + 5 * MINUTE_MS, START_MS + 25 * MINUTE_MS
        await home.count(first_ms)
        await home.count(last_ms)
        assert await home.close(last_ms + OVER_MS - 1) == []
        (told,) = await home.close(last_ms + OVER_MS)
        assert await home.close(last_ms + 30 * HOUR_MS) == []
        (archived,) = await home.events_archived()
    assert told == {
        "type": "session.closed",
        "app": APP,
        "customer_id": "fam-1",
        "device_id": "ipad-1",
        "session_id": name_of(first_ms),
        "revision": 1,
        "supersedes": [],
        "started_at": format_time_ms(first_ms),
        "ended_at": format_time_ms(last_ms),
        "closed_at": format_time_ms(last_ms + OVER_MS),
        "event_count": 2,
        "activities": [{"name": "reading", "seconds": 300.0, "share": 1.0, "events": 2}],
        "activity_count": 1,
        "content_ids": [],
        "content_count": 0,
    }
    assert (archived.type, archived.counted, archived.id) == (
        "session.closed",
        False,
        f"{name_of(first_ms)}-1",
    )
    assert archived.received_at_ms == last_ms + OVER_MS


async def test_session_over_several_buckets_closes_once(settings: CoreSettings):
    async with household(settings) as home:
        times_ms = [START_MS + 20 * minute * MINUTE_MS for minute in range(12)]
        for time_ms in times_ms:
            await home.count(time_ms)
            assert await home.close(time_ms) == []
        (told,) = await home.close(times_ms[-1] + OVER_MS)
        assert (told["event_count"], told["session_id"]) == (12, name_of(times_ms[0]))
        assert await home.close(times_ms[-1] + 30 * HOUR_MS) == []


async def test_late_event_gives_a_second_revision(settings: CoreSettings):
    async with household(settings) as home:
        await home.count(START_MS, START_MS + 10 * MINUTE_MS)
        await home.close(START_MS + 3 * HOUR_MS)
        await home.count(START_MS + 40 * MINUTE_MS, at_ms=START_MS + 50 * HOUR_MS)
        (told,) = await home.close(START_MS + 51 * HOUR_MS)
        assert (told["session_id"], told["revision"], told["event_count"]) == (name_of(START_MS), 2, 3)
        await home.count(START_MS, at_ms=START_MS + 100 * HOUR_MS)
        (again,) = await home.close(START_MS + 101 * HOUR_MS)
        assert (again["revision"], again["event_count"]) == (3, 4)


async def test_duplicate_that_comes_late_changes_nothing(settings: CoreSettings):
    async with household(settings) as home:
        seen = await home.count(START_MS)
        await home.close(START_MS + 3 * HOUR_MS)
        home.now_ms = START_MS + 50 * HOUR_MS
        again = await home.deliver(seen)
        assert again.duplicates == 1
        assert await home.close(START_MS + 51 * HOUR_MS) == []


async def test_bridge_gives_one_session_that_supersedes_both(settings: CoreSettings):
    async with household(settings) as home:
        one_ms, other_ms = START_MS + 50 * MINUTE_MS, START_MS + 100 * MINUTE_MS
        await home.count(one_ms)
        await home.count(other_ms)
        assert len(await home.close(START_MS + 5 * HOUR_MS)) == 2
        early_ms = START_MS + 40 * MINUTE_MS
        await home.count(early_ms, START_MS + 75 * MINUTE_MS, at_ms=START_MS + 9 * HOUR_MS)
        (told,) = await home.close(START_MS + 10 * HOUR_MS)
    assert (told["session_id"], told["revision"], told["event_count"]) == (name_of(early_ms), 1, 4)
    assert told["supersedes"] == [name_of(one_ms), name_of(other_ms)]


async def test_devices_close_on_their_own(settings: CoreSettings):
    async with household(settings) as home:
        for place, device in enumerate(("", "tv", "a#b@c")):
            await home.count(START_MS + place, device=device)
        told = await home.close(START_MS + 2 * HOUR_MS)
    assert {one["device_id"] for one in told} == {"", "tv", "a#b@c"}
    assert {one["session_id"] for one in told} == {
        name_of(START_MS + place, device) for place, device in enumerate(("", "tv", "a#b@c"))
    }


async def test_worker_that_was_away_for_days_goes_on_where_it_stopped(settings: CoreSettings):
    async with household(settings) as home:
        await home.count(START_MS)
        assert len(await home.close(START_MS + 2 * HOUR_MS)) == 1
        for day in range(1, 4):
            await home.count(START_MS + day * 24 * HOUR_MS, device=f"of-day-{day}")
        home.now_ms += 5 * HOUR_MS
        assert await home.walk().sweep() == 3
        assert len(await home.heard()) == 3


async def test_two_closers_at_once_announce_each_session_once(settings: CoreSettings):
    async with household(settings) as home:
        for number in range(20):
            await home.count(START_MS + number, device=f"device-{number}")
        home.now_ms = START_MS + 2 * HOUR_MS
        await asyncio.gather(*(home.walk().sweep() for _ in range(3)))
        await home.close(START_MS + 3 * HOUR_MS)
        assert len(home.told) == len(contents(home.told)) == 20


@pytest.mark.parametrize("late", [False, True], ids=["on time", "bridged"])
async def test_death_of_the_closer_at_any_step_loses_and_changes_nothing(settings: CoreSettings, late: bool):
    async with household(settings) as home:
        steps = None
        for number in range(60):
            base_ms = START_MS + number * 60 * HOUR_MS
            await home.count(base_ms + 10 * MINUTE_MS)
            await home.count(base_ms + 55 * MINUTE_MS, base_ms + 70 * MINUTE_MS)
            over_ms = base_ms + 70 * MINUTE_MS + OVER_MS
            if late:
                await home.close(over_ms)
                await home.count(base_ms + 33 * MINUTE_MS, at_ms=over_ms + HOUR_MS)
                over_ms += 2 * HOUR_MS
            before = len(contents(home.told))
            home.now_ms = over_ms
            life = Life(number)
            try:
                await home.walk(life).sweep()
            except KilledError:
                # What it held is another's after a minute, and all is as if it had not died.
                await home.close(over_ms + 3 * MINUTE_MS)
            else:
                steps = life.taken
            await home.close(over_ms + HOUR_MS)
            assert len(contents(home.told)) == before + (1 if late else 2)
            if steps is not None:
                break
    assert steps is not None
    assert steps > 10


async def test_announcement_that_finds_no_topic_is_made_when_it_is_back(settings: CoreSettings):
    async with household(settings) as home:
        await home.count(START_MS)
        arn = settings.names.topic_arn("sessions")
        await home.clients["sns"].delete_topic(TopicArn=arn)
        assert await home.close(START_MS + 2 * HOUR_MS) == []
        await home.listen()
        (told,) = await home.close(START_MS + 2 * HOUR_MS + 3 * MINUTE_MS)
        assert told["revision"] == 1


async def test_bucket_that_cannot_be_read_holds_up_no_other(settings: CoreSettings):
    async with household(settings) as home:
        await home.count(START_MS, device="broken")
        await home.count(START_MS + 1, device="sound")
        await home.spoil("broken", START_MS)
        (told,) = await home.close(START_MS + 2 * HOUR_MS)
        assert told["device_id"] == "sound"
