"""Trending scores: gathered in memory, written every few seconds, outside of any transaction.

Approximate on purpose: a worker that dies loses what it had not written. In return a hot content costs
one write an interval, however often it is viewed.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.dynamo import to_item, to_key
from kinstream.views import trending
from session_worker.effects import Score

log = logging.getLogger(__name__)


class Scores:
    """Scores of one worker."""

    def __init__(self, client: Any, table: str, now_ms: Callable[[], int]) -> None:
        self._client = client
        self._table = table
        self._now_ms = now_ms
        self._gathered: dict[tuple[str, int, str], float] = defaultdict(float)

    def add(self, scores: Iterable[tuple[str, Score]]) -> None:
        """Gather the scores of committed events, by app."""
        for app, score in scores:
            row = app, trending.year_of(score.at_ms), score.content_id
            self._gathered[row] += trending.stored_score(score.weight, score.at_ms)

    async def flush(self) -> None:
        """Write what was gathered; what could not be written waits for the next time."""
        gathered, self._gathered = self._gathered, defaultdict(float)
        for row, score in gathered.items():
            try:
                await self._write(*row, score)
            except (BotoCoreError, ClientError, OSError) as error:
                self._gathered[row] += score
                log.warning("trending not written", extra={"error": type(error).__name__})

    async def _write(self, app: str, year: int, content_id: str, score: float) -> None:
        values = {
            ":score": float(f"{score:.6e}"),
            ":shard": trending.shard_of(app, year, content_id),
            ":content": content_id,
            ":expires": (self._now_ms() + trending.ROW_TTL_MS) // 1000,
        }
        await self._client.update_item(
            TableName=self._table,
            Key=to_key(trending.row_key(app, year, content_id)),
            UpdateExpression="ADD trend :score SET trend_shard = :shard, content_id = :content, "
            "expires_at = :expires",
            ExpressionAttributeValues=to_item(values),
        )
