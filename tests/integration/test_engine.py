"""The engine against DynamoDB: each event counts once, whatever is delivered how often and in what order."""

import asyncio
import random
from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import msgspec
import pytest

from kinstream import keys
from kinstream.chunks import read_json
from kinstream.events import parse_time_ms
from kinstream.resources import TABLE_COUNTERS, TABLE_OUTBOX
from kinstream.settings import CoreSettings
from session_worker.effects import Increment
from session_worker.engine.transaction import MAX_ITEMS
from session_worker.processor import LedgerKey, Reducer
from session_worker.processors.archive import Archive
from tests.support.engine import APP, Engine, engine, event, in_chunks, message


async def test_duplicate_event_is_counted_once(settings: CoreSettings):
    async with engine(settings) as (worker,):
        seen = event(type="content.viewed", data={"content_id": "story-7"})
        await worker.run("activity", [seen, seen], [seen])
        again = await worker.run("activity", [seen])
        customer = await worker.customer()
    assert (customer["events"], customer["type:content.viewed"]) == (1, 1)
    assert (again.counted, again.duplicates) == (0, 1)


async def test_duplicate_is_recognised_by_a_worker_that_never_saw_the_first(settings: CoreSettings):
    async with engine(settings, copies=2) as (first, second):
        seen = event()
        await first.run("activity", [seen])
        await second.run("activity", [seen])
        assert (await first.customer())["events"] == 1


async def test_same_id_at_another_time_is_another_event(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.run("activity", [event(id="a"), event(id="a", occurred_at="2026-11-20T18:00:00.001Z")])
        assert (await worker.customer())["events"] == 2


async def test_workers_that_count_the_same_customer_at_once_lose_nothing(settings: CoreSettings):
    events = [event(occurred_at=f"2026-11-20T{n % 5 + 10}:{n % 60:02d}:00.{n:03d}Z") for n in range(200)]
    async with engine(settings, copies=4) as workers:

        async def deliver(worker: Engine, seed: int) -> None:
            mine = events.copy()
            random.Random(seed).shuffle(mine)
            for chunk in in_chunks(mine, 20):
                outcome = await worker.run("activity", chunk)
                while outcome.failed:  # a queue would deliver it again
                    outcome = await worker.run("activity", chunk)

        await asyncio.gather(*(deliver(worker, seed) for seed, worker in enumerate(workers)))
        customer = await workers[0].customer()
        facts = await workers[0].ledger_facts("activity")
    assert customer["events"] == len(facts) == len(events)


async def test_threshold_marks_a_customer_due_once(settings: CoreSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KINSTREAM_ACTIVITY_TRAINING_THRESHOLD_EVENTS", "10")
    async with engine(settings, copies=2) as (one, other):
        for number in range(9):
            await (one, other)[number % 2].run("activity", [event()])
        assert "due_at_ms" not in await one.customer()
        await one.run("activity", [event()])
        due_at_ms = (await one.customer())["due_at_ms"]
        await other.run("activity", [event(), event()])
        customer = await one.customer()
    assert customer["due_at_ms"] == due_at_ms
    assert (customer["due_shard"], customer["events_since_training"]) == (keys.DUE_SHARD, 12)


async def test_threshold_is_met_by_one_group_alone(settings: CoreSettings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("KINSTREAM_ACTIVITY_TRAINING_THRESHOLD_EVENTS", "3")
    async with engine(settings) as (worker,):
        await worker.run("activity", [event(), event(), event()])
        assert (await worker.customer())["due_shard"] == keys.DUE_SHARD


def like(customer: str, minute: int, *, on: bool = True, event_id: str = ""):
    extra = {"id": event_id} if event_id else {}
    return event(
        type="content.liked" if on else "content.unliked",
        customer_id=customer,
        occurred_at=f"2026-11-20T18:{minute:02d}:00.000Z",
        data={"content_id": "story-7"},
        **extra,
    )


@pytest.mark.parametrize("order", [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]])
async def test_last_word_decides_a_like_in_any_order(settings: CoreSettings, order: list[int]):
    said = [like("fam-1", 1), like("fam-1", 2, on=False), like("fam-1", 3)]
    async with engine(settings, copies=2) as workers:
        for position, number in enumerate(order):
            await workers[position % 2].run("content", [said[number]])
        assert await workers[0].content("story-7", "likes") == 1
        await workers[0].run("content", [like("fam-1", 4, on=False), like("fam-2", 1)])
        assert await workers[0].content("story-7", "likes") == 1


async def test_like_and_unlike_at_the_same_time_are_ordered_by_id(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.run("content", [like("fam-1", 1, event_id="b")])
        await worker.run("content", [like("fam-1", 1, on=False, event_id="a")])
        assert await worker.content("story-7", "likes") == 1


async def test_views_are_summed_over_the_slots_of_several_workers(settings: CoreSettings):
    async with engine(settings, copies=3) as workers:
        for number, worker in enumerate(workers):
            views = [event(type="content.viewed", customer_id=f"fam-{number}", data={"content_id": "s"})] * 2
            await worker.run("content", [*views, event(type="content.viewed", data={"content_id": "s"})])
        assert await workers[0].content("s", "views") == 6


async def test_unreadable_payload_is_put_aside_and_its_neighbours_are_counted(settings: CoreSettings):
    bad = event(type="content.viewed", data={"content_id": 7})
    good = [event(type="content.viewed", data={"content_id": "story-7"}) for _ in range(5)]
    async with engine(settings) as (worker,):
        outcome = await worker.run("content", [*good[:3], bad, *good[3:]])
        put_aside = await worker.put_aside()
        assert await worker.content("story-7", "views") == 5
    assert not outcome.failed
    ((body, reason),) = put_aside
    assert bad.id in read_json(body).decode()
    assert "content_id" in reason


async def test_message_that_is_no_chunk_is_put_aside_with_its_reason(settings: CoreSettings):
    async with engine(settings) as (worker,):
        broken = message([]).__class__("m", "{not json", "r", 1)
        outcome = await worker.group("activity").run([broken, message([event()])])
        ((body, reason),) = await worker.put_aside()
        assert (await worker.customer())["events"] == 1
    assert not outcome.failed
    assert body == "{not json"
    assert "no chunk" in reason


class Raises(Reducer):
    """A processor with a bug that one customer's events bring out."""

    name = "raises"
    handles = None
    example = MappingProxyType({})

    def key(self, event):
        return LedgerKey((event.customer_id,))

    def effects(self, app, key, new):
        if key.partition == ("fam-bad",):
            raise ZeroDivisionError("a bug")
        return [Increment(("raises", key.partition[0]), {"events": len(new)})]


async def test_event_that_brings_out_a_bug_leaves_others_of_its_key_counted(settings: CoreSettings):
    class Picky(Raises):
        name = "picky"

        def fact(self, event):
            return (1 // (event.type != "bad.thing"),)

    async with engine(settings) as (worker,):
        good, bad = message([event(), event()]), message([event(type="bad.thing")])
        outcome = await worker.group(Picky()).run([good, bad])
        counted = await worker.item(TABLE_COUNTERS, keys.counter(APP, "raises", "fam-1"))
    assert list(outcome.failed) == [bad.id]
    assert counted["events"] == 2


@pytest.mark.parametrize("occurred_at", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_time_that_no_calendar_has_is_archived_by_its_arrival(settings: CoreSettings, occurred_at: str):
    odd = msgspec.structs.replace(
        event(), occurred_at=occurred_at, occurred_at_ms=parse_time_ms(occurred_at), counted=False
    )
    (file,) = Archive().files("batch", {APP: [odd, event()]})
    assert file.key == f"events/app={APP}/dt=2026-11-20/batch.parquet"


async def test_bug_in_a_processor_fails_the_messages_it_concerns_and_no_other(settings: CoreSettings):
    async with engine(settings) as (worker,):
        messages = [message([event(customer_id=f"fam-{n}")]) for n in range(6)]
        bad = message([event(customer_id="fam-bad"), event(customer_id="fam-0")])
        outcome = await worker.group(Raises()).run([*messages[:3], bad, *messages[3:]])
        counted = [
            (await worker.item(TABLE_COUNTERS, keys.counter(APP, "raises", f"fam-{n}")))["events"]
            for n in range(6)
        ]
    assert list(outcome.failed) == [bad.id]
    assert counted == [2, 1, 1, 1, 1, 1]


async def test_group_with_more_writes_than_a_transaction_holds_is_split(settings: CoreSettings):
    views = [event(type="content.viewed", data={"content_id": f"s-{n}"}) for n in range(MAX_ITEMS + 50)]
    async with engine(settings) as (worker,):
        outcome = await worker.run("content", views)
        assert not outcome.failed
        assert await worker.content("s-0", "views") == await worker.content("s-149", "views") == 1
        assert outcome.counted == len(views)


async def test_events_that_are_not_to_be_counted_are_left_out(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.run("activity", [event(counted=False), event()])
        assert (await worker.customer())["events"] == 1


async def test_apps_and_odd_names_never_mix(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.run("activity", [event(customer_id="a#b", device_id="c")])
        await worker.run("activity", [event(customer_id="a", device_id="b#c@%")])
        await worker.run("activity", [event(customer_id="a")], app="other")
        assert (await worker.customer("a#b"))["events"] == 1
        assert (await worker.customer("a"))["events"] == 1
        assert (await worker.customer("a", app="other"))["events"] == 1


HOME = {"place_id": "home", "latitude": 52.52, "longitude": 13.40, "radius_m": 150}


def fix(minute: float, latitude: float, accuracy_m: float = 10):
    moment = datetime(2026, 11, 20, 16, tzinfo=UTC) + timedelta(minutes=minute)
    return event(
        type="location.updated",
        occurred_at=moment.isoformat(timespec="milliseconds"),
        data={"person_id": "kid", "latitude": latitude, "longitude": 13.40, "accuracy_m": accuracy_m},
    )


WALK = [
    fix(0, 52.52),
    fix(4, 52.53),
    fix(6, 52.54, accuracy_m=900),
    fix(8, 52.54),
    fix(12, 52.55),
    fix(30, 52.55),
    fix(45, 52.52),
    fix(50, 52.53),
    fix(51, 52.52),
]


@pytest.mark.parametrize("seed", range(6))
async def test_walk_away_gives_one_alert_in_whatever_order_its_fixes_come(settings: CoreSettings, seed: int):
    shuffled = [*WALK, *random.Random(seed).sample(WALK, 3)]
    random.Random(seed).shuffle(shuffled)
    async with engine(settings, copies=2) as workers:
        await workers[0].put_place("fam-1", HOME)
        for number, chunk in enumerate(in_chunks(shuffled, 1 + seed % 3)):
            outcome = await workers[number % 2].run("safety", chunk)
            assert not outcome.failed
        (alert,) = await workers[0].alerts()
    assert (alert["person_id"], alert["kind"]) == ("kid", "location.unknown")
    # 52.53 at minute 4 begins the run; the usable fixes at 8 and 12 make three.
    assert alert["raised_at_ms"] == WALK[4].occurred_at_ms
    assert alert["resolved_at_ms"] == WALK[6].occurred_at_ms
    assert alert["latitude"] == 52.55


@pytest.mark.parametrize("seed", range(4))
async def test_fixes_one_by_one_in_any_order_give_the_alerts_of_all_at_once(
    settings: CoreSettings, seed: int
):
    # Several buckets of ten minutes with several fixes each, a run over their borders, then home.
    minutes = [0, 1, 2, 11, 12, 13, 14, 15, 16, 22, 23, 24, 25, 40, 41, 42, 43]
    known = {16, 23, 40}
    fixes = [fix(minute, 52.52 if minute in known else 52.53) for minute in minutes]
    shuffled = random.Random(seed).sample(fixes, len(fixes))
    async with engine(settings) as (worker,):
        for customer, chunks in (("fam-1", [[f] for f in shuffled]), ("fam-2", [fixes])):
            await worker.put_place(customer, HOME)
            for chunk in chunks:
                outcome = await worker.run(
                    "safety", [msgspec.structs.replace(f, customer_id=customer) for f in chunk]
                )
                assert not outcome.failed
        one_by_one, at_once = await worker.alerts("fam-1"), await worker.alerts("fam-2")
    told = ("raised_at_ms", "resolved_at_ms", "latitude", "longitude")
    assert [[a[name] for name in told] for a in one_by_one] == [[a[name] for name in told] for a in at_once]
    assert [(a["raised_at_ms"] - fixes[0].occurred_at_ms) // 60_000 for a in at_once] == [2, 43]


async def test_late_fix_at_the_start_of_a_day_away_is_counted(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.put_place("fam-1", HOME)
        await worker.run("safety", [fix(minute, 52.53) for minute in range(10, 24 * 60, 10)])
        outcome = await worker.run("safety", [fix(5, 52.53)])
        assert await worker.put_aside() == []
        (alert,) = await worker.alerts()
    assert outcome.counted == 1
    assert alert["raised_at_ms"] == fix(10, 52.53).occurred_at_ms


async def test_second_alert_never_takes_the_id_of_a_first_that_moved(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.put_place("fam-1", HOME)
        for minutes, latitude in (((5, 5.5, 6), 52.53), ((4, 4.5), 52.53), ((5.2,), 52.52), ((5.4,), 52.53)):
            await worker.run("safety", [fix(minute, latitude) for minute in minutes])
        first, second = await worker.alerts()
    assert first["alert_id"] != second["alert_id"]


async def test_alert_that_a_late_fix_disproves_is_withdrawn_and_said_so(settings: CoreSettings):
    async with engine(settings) as (worker,):
        await worker.put_place("fam-1", HOME)
        await worker.run("safety", [fix(4, 52.53), fix(8, 52.54), fix(12, 52.55)])
        (alert,) = await worker.alerts()
        outcome = await worker.run("safety", [fix(6, 52.52), fix(10, 52.52)])
        assert await worker.alerts() == []
        row = await worker.item(
            TABLE_OUTBOX, keys.announcement(APP, outcome.announcements[0].announcement_id)
        )
    announcement_id = outcome.announcements[0].announcement_id
    assert announcement_id.startswith(alert["alert_id"])
    assert announcement_id.endswith("-withdrawn")
    assert row["pending_shard"]


async def test_announcement_left_by_a_dead_worker_is_swept(
    settings: CoreSettings, monkeypatch: pytest.MonkeyPatch
):
    async with engine(settings) as (worker,):
        await worker.put_place("fam-1", HOME)
        outcome = await worker.run("safety", [fix(n, 52.53) for n in range(4)])
        (announced,) = outcome.announcements  # and the worker dies before it sends
        monkeypatch.setattr("session_worker.engine.outbox.SETTLING_MS", -1_000)
        assert await worker.worker.outbox.sweep() == 1
        assert await worker.worker.outbox.sweep() == 0
        row = await worker.item(TABLE_OUTBOX, keys.announcement(APP, announced.announcement_id))
    assert row["sent_at_ms"]
