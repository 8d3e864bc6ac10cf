"""Counters of contents, and what is trending."""

from typing import Annotated

from fastapi import APIRouter, Query

from ingest_api import composition
from ingest_api.answers import ContentCountersAnswer, TrendingAnswer
from ingest_api.auth import Authenticator, Caller
from ingest_api.reads import Tables
from ingest_api.routes.access import Access
from ingest_api.routes.parameters import ContentId
from ingest_api.trending import MOST, Trending
from kinstream.clock import now_ms


def content_router(tables: Tables, trending: Trending, authenticator: Authenticator) -> APIRouter:
    """Routes about contents, the same for every reader of an app."""
    router = APIRouter(tags=["content"])
    reader = Access(authenticator).reader

    @router.get("/v1/content/{content_id}/counters", summary="Likes, views and unique viewers")
    async def counters(content_id: ContentId, caller: Caller = reader) -> ContentCountersAnswer:
        return composition.content_counters(content_id, await tables.content_slots(caller.app, content_id))

    @router.get("/v1/trending", summary="Contents by recency-weighted score")
    async def top(
        limit: Annotated[int, Query(ge=1, le=MOST)] = 20, caller: Caller = reader
    ) -> TrendingAnswer:
        return TrendingAnswer(items=await trending.top(caller.app, limit, now_ms()))

    return router
