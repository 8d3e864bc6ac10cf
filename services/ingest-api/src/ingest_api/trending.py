"""The trending list of an app, remembered in Redis for a few seconds; without Redis it is read each time."""

import logging
from typing import Any

import msgspec
from redis.exceptions import RedisError

from ingest_api.answers import TrendingItem
from ingest_api.composition import trending_items
from ingest_api.reads import Tables

log = logging.getLogger(__name__)

MOST = 100


class Trending:
    """At most `cache_seconds` behind the table's index."""

    def __init__(self, tables: Tables, redis: Any, name_prefix: str, cache_seconds: int) -> None:
        self._tables = tables
        self._redis = redis
        self._name_prefix = name_prefix
        self._cache_seconds = cache_seconds
        self._redis_answers = True

    async def top(self, app: str, limit: int, now_ms: int) -> list[TrendingItem]:
        """The best `limit` contents of an app, at most MOST."""
        key = f"{app}:{self._name_prefix}:trending"
        pairs = await self._remembered(key)
        if pairs is None:
            # Two years may share a content, so ask for more than are told.
            scores = await self._tables.trending_scores(app, now_ms, 2 * MOST)
            pairs = [(item.content_id, item.score) for item in trending_items(scores, MOST)]
            await self._remember(key, pairs)
        return [TrendingItem(content_id=content_id, score=score) for content_id, score in pairs[:limit]]

    async def _remembered(self, key: str) -> list[tuple[str, float]] | None:
        try:
            packed = await self._redis.get(key)
            return None if packed is None else msgspec.msgpack.decode(packed, type=list[tuple[str, float]])
        except (RedisError, OSError, TimeoutError, msgspec.MsgspecError) as error:
            self._note(error)
            return None

    async def _remember(self, key: str, pairs: list[tuple[str, float]]) -> None:
        try:
            await self._redis.set(key, msgspec.msgpack.encode(pairs), ex=self._cache_seconds)
        except (RedisError, OSError, TimeoutError) as error:
            self._note(error)
        else:
            self._redis_answers = True

    def _note(self, error: Exception) -> None:
        if self._redis_answers:
            log.warning(
                "Redis does not answer; trending is read each time", extra={"error": type(error).__name__}
            )
        self._redis_answers = False
