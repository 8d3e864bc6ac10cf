"""What a customer is served: versions, what stands in for them, what was seen since, arms and exposures."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from ingest_api.exposures import Exposures
from ingest_api.reads import Tables
from ingest_api.recommendation_reads import LATE_MS, RecommendationReads
from ingest_api.recommending import Recommender
from ingest_api.session_reads import SessionQuery, SessionReads
from ingest_api.trending import Trending
from kinstream import keys
from kinstream.chunks import Part
from kinstream.dynamo import to_item
from kinstream.dynamodb_http import DynamoDbHttp
from kinstream.errors import RetryableError
from kinstream.events import format_time_ms
from kinstream.resources import TABLE_COUNTERS, TABLE_LEDGER, TABLE_RECOMMENDATIONS
from kinstream.settings import CoreSettings
from kinstream.versions import SERVED, TRENDING, Arm, Versions, row_of
from kinstream.views import trending
from kinstream_devkit.provision import provision
from tests.support.engine import APP, engine, event

HOUR_MS = 3_600_000
NOW_MS = 4_000_000_000_000  # 2096: the emulator deletes what has expired by its own clock


class _NoRedis:
    async def get(self, key: str) -> bytes:
        raise RedisConnectionError

    async def set(self, key: str, value: bytes, ex: int) -> None:
        raise RedisConnectionError


@dataclass
class World:
    """Tables of one app, and a recommender before them."""

    dynamodb: Any
    settings: CoreSettings
    published: list[tuple[str, Part]] = field(default_factory=list)
    now_ms: int = NOW_MS
    sns_is_away: bool = False

    def recommender(self, cache_seconds: float = 0) -> Recommender:
        reads = RecommendationReads(self.dynamodb, self.settings.names, cache_seconds, lambda: self.now_ms)
        tables = Tables(self.dynamodb, self.settings.names)
        self.exposures = Exposures(self.publish)
        return Recommender(reads, Trending(tables, _NoRedis(), "t", 15), self.exposures)

    async def publish(self, app: str, parts: list[Part], types: set[str]) -> None:
        if self.sns_is_away:
            raise RetryableError("away")
        assert types == {"recommendation.exposed"}
        self.published += [(app, part) for part in parts]

    async def put(self, table: str, key: keys.Key, values: dict[str, Any]) -> None:
        item = to_item({"pk": key[0], "sk": key[1], **values})
        await self.dynamodb.put_item(TableName=self.settings.names.of(table), Item=item)

    async def point(self, versions: Versions) -> None:
        await self.put(TABLE_RECOMMENDATIONS, keys.recommendation_pointer(APP), row_of(versions))

    async def list_of(self, run_id: str, *contents: str, as_of_ms: int = NOW_MS, **changes: Any) -> None:
        items = [{"content_id": content, "score": 1.0, "because": []} for content in contents]
        values = {"run_id": run_id, "as_of_ms": as_of_ms, "items": items, "expires_at": NOW_MS // 1000 + 60}
        await self.put(TABLE_RECOMMENDATIONS, keys.recommendations(APP, "fam-1", run_id), values | changes)

    async def trend(self, *contents: str) -> None:
        year = trending.year_of(NOW_MS)
        for place, content in enumerate(contents):
            score = trending.stored_score(9.0 - place, NOW_MS)
            values = {"trend": score, "trend_shard": trending.shard_of(APP, year, content)}
            await self.put(TABLE_COUNTERS, trending.row_key(APP, year, content), values)

    async def served(self, customer_id: str = "fam-1") -> tuple[str | None, list[str]]:
        """(run, contents) of an answer."""
        answer = await self.recommender().recommend(APP, customer_id, 20, self.now_ms)
        assert (answer.source == "trending") == (answer.run_id is None)
        return answer.run_id, [item.content_id for item in answer.items]


@asynccontextmanager
async def _world(settings: CoreSettings) -> AsyncIterator[World]:
    provision(settings, [])
    async with aiohttp.ClientSession() as http:
        yield World(DynamoDbHttp.of(http, settings, 10), settings)


@pytest.fixture
async def world(settings: CoreSettings) -> AsyncIterator[World]:
    async with _world(settings) as made:
        yield made


def _versions(*runs: str, as_of_ms: int = NOW_MS) -> Versions:
    versions = Versions()
    for run in runs:
        versions = versions.published(run, NOW_MS, as_of_ms)
    return versions


async def test_without_any_training_what_is_trending_is_served(world: World):
    await world.trend("hot", "warm")
    assert await world.served() == (None, ["hot", "warm"])


async def test_priorities_of_a_session_need_no_training(world: World):
    async with engine(world.settings) as (worker,):
        times = ((0, "reading"), (60_000, "drawing"), (240_000, "reading"))
        events = [
            event(occurred_at=format_time_ms(NOW_MS + after_ms), data={"activity": activity})
            for after_ms, activity in times
        ]
        await worker.run("activity", events)
    sessions = SessionReads(world.dynamodb, world.settings.names.of(TABLE_LEDGER))
    query = SessionQuery(APP, "fam-1", NOW_MS, NOW_MS + HOUR_MS, limit=10)
    ((found,), _) = await sessions.page(query, NOW_MS)
    assert [name for name, _ in found.session.by_priority()] == ["drawing", "reading"]


async def test_customer_whom_the_newest_version_lacks_has_the_list_of_the_last_good_one(world: World):
    await world.list_of("r1", "a")
    for failed in ("r2", "r2a", "r2b", "r2c", "r2d"):
        await world.list_of(failed, "never published: the run failed half-way")
    await world.point(_versions("r1", "r3"))
    assert await world.served() == ("r1", ["a"])
    await world.list_of("r3", "b")
    assert await world.served() == ("r3", ["b"])


async def test_list_of_a_version_that_was_rolled_back_stands_in_for_nothing(world: World):
    await world.trend("hot")
    await world.list_of("r2", "bad")
    await world.point(_versions("r1", "r2").rolled_back(NOW_MS).published("r3", NOW_MS, NOW_MS))
    assert await world.served() == (None, ["hot"])


async def test_list_that_has_run_out_is_not_served(world: World):
    await world.list_of("r1", "a", expires_at=NOW_MS // 1000)
    await world.point(_versions("r1"))
    assert await world.served() == (None, [])


async def test_rollback_is_seen_once_the_pointer_is_read_again(world: World):
    await world.list_of("r1", "a")
    await world.list_of("r2", "b")
    await world.point(_versions("r1", "r2"))
    recommender = world.recommender(cache_seconds=10)

    async def run_id() -> str | None:
        return (await recommender.recommend(APP, "fam-1", 20, world.now_ms)).run_id

    assert await run_id() == "r2"
    await world.point(_versions("r1", "r2").rolled_back(NOW_MS))
    assert await run_id() == "r2"
    world.now_ms += 10_000
    assert await run_id() == "r1"


def _seen(content: str, at_ms: int, device: str = "ipad-1", kind: str = "content.viewed"):
    return event(type=kind, device_id=device, occurred_at=format_time_ms(at_ms), data={"content_id": content})


async def test_what_was_seen_since_the_run_is_taken_out_on_every_device_and_old_buckets_are_passed_over(
    world: World,
):
    long_ago = NOW_MS - 20 * 24 * HOUR_MS
    old = [_seen("old", long_ago + n * HOUR_MS, device) for n in range(40) for device in ("a", "tv", "z#1")]
    new = [
        _seen("seen-a", NOW_MS + 1000, "a"),
        _seen("seen-tv", NOW_MS + 5 * HOUR_MS, "tv"),
        _seen("hidden", NOW_MS + 2000, "z#1", "content.hidden"),
    ]
    async with engine(world.settings) as (worker,):
        for chunk in range(0, len(old), 60):
            await worker.run("activity", old[chunk : chunk + 60])
        await worker.run("activity", new)
    await world.list_of("r1", "seen-a", "old", "seen-tv", "kept", "hidden")
    await world.point(_versions("r1"))
    assert await world.served() == ("r1", ["old", "kept"])


async def test_what_was_seen_shortly_before_the_run_and_told_after_it_is_taken_out_too(world: World):
    late = [
        _seen("late", NOW_MS - LATE_MS + HOUR_MS),
        _seen("too-late", NOW_MS - LATE_MS - HOUR_MS),
        _seen("night", NOW_MS - HOUR_MS, "tv"),
    ]
    async with engine(world.settings) as (worker,):
        await worker.run("activity", late)
    await world.list_of("r1", "late", "too-late", "kept", "night")
    await world.point(_versions("r1"))
    assert await world.served() == ("r1", ["too-late", "kept"])


async def test_stand_in_loses_what_was_seen_since_its_own_run(world: World):
    async with engine(world.settings) as (worker,):
        await worker.run("activity", [_seen("seen", NOW_MS - 5 * HOUR_MS)])
    await world.list_of("r1", "seen", "kept", as_of_ms=NOW_MS - 6 * HOUR_MS)
    await world.point(_versions("r1", "r2"))
    assert await world.served() == ("r1", ["kept"])


async def test_customer_who_has_seen_all_of_a_list_is_served_what_is_trending(world: World):
    async with engine(world.settings) as (worker,):
        await worker.run("activity", [_seen("a", NOW_MS), _seen("hid", NOW_MS, kind="content.hidden")])
    await world.trend("hid", "hot", "a")
    await world.list_of("r1", "a")
    await world.point(_versions("r1"))
    assert await world.served() == (None, ["hot"]), "nor is it served those that it has just seen or hidden"


async def test_experiment_serves_its_arm_and_tells_of_it_once_an_hour(world: World):
    await world.trend("hot")
    await world.list_of("r1", "a")
    await world.point(_versions("r1").split("holdout", [Arm(TRENDING, 1)], NOW_MS))
    recommender = world.recommender()
    for _ in range(3):
        answer = await recommender.recommend(APP, "fam-1", 20, world.now_ms)
    assert (answer.source, answer.variant, answer.items[0].content_id) == ("trending", TRENDING, "hot")
    await recommender.recommend(APP, "fam-1", 20, world.now_ms + HOUR_MS)
    await world.exposures.close()
    (app, first), (_, second) = world.published
    assert (app, first.counted, first.received_at_ms) == (APP, False, NOW_MS)
    told = msgspec.json.decode(first.events)
    assert told["data"] == {
        "experiment": "holdout",
        "variant": TRENDING,
        "run_id": None,
        "content_ids": ["hot"],
    }
    assert (told["type"], told["customer_id"]) == ("recommendation.exposed", "fam-1")
    assert told["occurred_at"] < msgspec.json.decode(second.events)["occurred_at"]


async def test_answer_does_not_depend_on_whether_its_exposure_is_told(world: World, caplog):
    await world.list_of("r1", "a")
    await world.point(_versions("r1").split("try", [Arm(TRENDING, 0.0001)], NOW_MS))
    world.sns_is_away = True
    answer = await world.recommender().recommend(APP, "fam-1", 20, world.now_ms)
    await world.exposures.close()
    assert (answer.run_id, answer.variant) == ("r1", SERVED)
    assert "exposure not told" in caplog.text
