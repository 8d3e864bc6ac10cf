"""What to show a customer next: the lists of a training run, or what is trending."""

import asyncio

from ingest_api.answers import Recommendation, RecommendationsAnswer
from ingest_api.exposures import Exposed, Exposures
from ingest_api.reads import Row
from ingest_api.recommendation_reads import RecommendationReads
from ingest_api.trending import Trending
from kinstream.versions import Serving, serving


class Recommender:
    """Two reads side by side an answer, a third where the pointer is not known; trending where no list is."""

    def __init__(self, reads: RecommendationReads, trending: Trending, exposures: Exposures) -> None:
        self._reads = reads
        self._trending = trending
        self._exposures = exposures

    async def recommend(self, app: str, customer_id: str, limit: int, now_ms: int) -> RecommendationsAnswer:
        """At most `limit` contents. What the customer has seen since the run is not among them."""
        versions = await self._reads.versions(app)
        served = serving(versions, customer_id, now_ms)
        row, seen = await self._list_and_seen(app, customer_id, served, now_ms)
        chosen = [item for item in row["items"] if item["content_id"] not in seen] if row else []
        items = [Recommendation(**item) for item in chosen[:limit]]
        run_id = row["run_id"] if row and items else None
        if not items:
            items = await self._trending_but(seen, app, limit, now_ms)
        if versions.experiment and served.variant:
            contents = [item.content_id for item in items]
            shown = Exposed(versions.experiment.name, served.variant, run_id, contents)
            self._exposures.tell(app, customer_id, shown, now_ms)
        return RecommendationsAnswer(
            customer_id=customer_id,
            source="model" if run_id else "trending",
            run_id=run_id,
            variant=served.variant,
            items=items,
        )

    async def _trending_but(self, seen: set[str], app: str, limit: int, now_ms: int) -> list[Recommendation]:
        """What is trending, without what the customer has just seen or hidden as long as anything is left."""
        top = await self._trending.top(app, limit + len(seen), now_ms)
        fresh = [one for one in top if one.content_id not in seen] or top
        return [
            Recommendation(content_id=one.content_id, score=one.score, because=[]) for one in fresh[:limit]
        ]

    async def _list_and_seen(
        self, app: str, customer_id: str, served: Serving, now_ms: int
    ) -> tuple[Row | None, set[str]]:
        if served.version is None:
            return None, set()
        since_ms = served.version.as_of_ms
        row, seen = await asyncio.gather(
            self._reads.list_of(app, customer_id, served, now_ms),
            self._reads.contents_since(app, customer_id, since_ms),
        )
        if row and (learnt_ms := row.get("as_of_ms", since_ms)) < since_ms:
            # An earlier version's list stands in.
            seen = await self._reads.contents_since(app, customer_id, learnt_ms)
        return row, seen
