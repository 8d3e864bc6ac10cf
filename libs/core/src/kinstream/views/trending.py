"""Recency-weighted scores that never need to be decayed in place (forward decay, Cormode et al. 2009).

A view at time t adds `weight * 2^((t - start of its year) / half-life)`. All of a year's scores lose
half of their worth a week together, so their order stays right while nobody touches them; only a
reader brings them to today's scale. Each year has rows of its own, which keeps the numbers small.

Rows lie in the counters table under `row_key`, with `trend` and `trend_shard`; the index on these gives
the best of a shard with one Query. Approximate: a worker that dies loses the scores of its last seconds.
"""

import math
from datetime import UTC, datetime
from hashlib import blake2b
from typing import NamedTuple

from kinstream.ledger_format import join_key

HALF_LIFE_MS = 7 * 24 * 60 * 60 * 1000
SHARDS = 4
ROW_TTL_MS = 2 * 366 * 24 * 60 * 60 * 1000

_NEGLIGIBLE_HALF_LIVES = 10


class Partition(NamedTuple):
    """One shard of one year in the trend index."""

    shard: str
    year: int


def row_key(app: str, year: int, content_id: str) -> tuple[str, str]:
    """Counters table: the score of a content in a year, `(pk, sk)`."""
    return join_key(app, "trend", str(year)), join_key(content_id)


def shard_of(app: str, year: int, content_id: str) -> str:
    """Partition of the index that a content's row of a year lies in."""
    number = blake2b(content_id.encode(), digest_size=1).digest()[0] % SHARDS
    return join_key(app, "trend", str(year), str(number))


def partitions(app: str, now_ms: int) -> list[Partition]:
    """What a reader queries, best scores first: this year's shards, and last year's while they matter."""
    year = year_of(now_ms)
    years = [year]
    if now_ms - _start_of_year_ms(year) < _NEGLIGIBLE_HALF_LIVES * HALF_LIFE_MS:
        years.append(year - 1)
    return [Partition(join_key(app, "trend", str(y), str(n)), y) for y in years for n in range(SHARDS)]


def stored_score(weight: float, time_ms: int) -> float:
    """What an event of this weight and time adds to its row."""
    age = (time_ms - _start_of_year_ms(year_of(time_ms))) / HALF_LIFE_MS
    # Four significant digits: DynamoDB holds 38, and a year's scores span 16 orders of magnitude.
    return float(f"{weight * math.exp2(age):.3e}")


def current_score(stored: float, year: int, now_ms: int) -> float:
    """A row's score on today's scale: one event of weight 1 right now scores 1."""
    return float(stored) * math.exp2(-(now_ms - _start_of_year_ms(year)) / HALF_LIFE_MS)


def year_of(time_ms: int) -> int:
    """The UTC year of a time."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).year


def _start_of_year_ms(year: int) -> int:
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp() * 1000)
