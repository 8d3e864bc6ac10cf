"""Compares the arms of an experiment from the archive: who was shown which, and what they did then.

A customer belongs to the arm of its first exposure. The outcome is whether the customer turned to one of the
contents that it was shown within some hours, for the first time, each customer once, so that one who is never
away from the screen weighs no more than another. What a customer used before it was shown counts for no arm:
what is trending shows it, a model's lists never do. Differences are told with a 95 % interval (two
proportions, Wald).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

import duckdb

from kinstream.events import CONTENT_LIKED, CONTENT_VIEWED, RECOMMENDATION_EXPOSED

HOUR_MS = 3_600_000
_95_PERCENT = 1.96

# An exposure's own time is the start of its hour; when it was sent tells when it was shown.
_EXPOSED = """
CREATE TABLE exposed AS
SELECT customer_id, shown_ms, experiment, variant, content_ids FROM (
    SELECT customer_id, received_at_ms AS shown_ms, data ->> '$.experiment' AS experiment,
           data ->> '$.variant' AS variant, data -> '$.content_ids' AS content_ids
    FROM read_parquet(?, union_by_name = true, hive_partitioning = false)
    WHERE type = ? AND json_valid(data))
WHERE variant IS NOT NULL AND (? IS NULL OR experiment = ?)
"""
_EXPERIMENT = "SELECT experiment FROM exposed GROUP BY ALL ORDER BY max(shown_ms) DESC LIMIT 1"
_ARMS = """
WITH acts AS (
    SELECT DISTINCT customer_id, occurred_at_ms, content_id, type
    FROM read_parquet(?, union_by_name = true, hive_partitioning = false)
    WHERE counted AND type IN (?, ?) AND content_id IS NOT NULL),
arms AS (
    SELECT customer_id, arg_min(variant, shown_ms) AS variant, min(shown_ms) AS first_ms
    FROM exposed WHERE experiment = ? GROUP BY customer_id),
shown AS (
    SELECT customer_id, shown_ms, unnest(content_ids::VARCHAR[]) AS content_id
    FROM exposed WHERE experiment = ?),
first_acts AS (
    SELECT customer_id, content_id, min(occurred_at_ms) AS occurred_at_ms FROM acts GROUP BY ALL),
taken AS (
    SELECT DISTINCT customer_id FROM shown JOIN first_acts USING (customer_id, content_id)
    WHERE occurred_at_ms BETWEEN shown_ms AND shown_ms + ?),
likes AS (
    SELECT customer_id, count(*) AS likes FROM acts JOIN arms USING (customer_id)
    WHERE type = ? AND occurred_at_ms >= first_ms GROUP BY customer_id)
SELECT variant, count(*) AS customers, count(taken.customer_id) AS takers, coalesce(sum(likes), 0) AS likes,
       min(first_ms), max(first_ms)
FROM arms LEFT JOIN taken USING (customer_id) LEFT JOIN likes USING (customer_id)
GROUP BY variant ORDER BY customers DESC, variant
"""


@dataclass(frozen=True, slots=True)
class Arm:
    """What became of the customers who were first shown one variant. Times in milliseconds since 1970."""

    variant: str
    customers: int
    takers: int
    """Customers who turned to a content that they were shown and had not used before."""
    likes: int
    """Since their first exposure, of any content."""
    first_ms: int
    last_ms: int

    @property
    def share(self) -> float:
        """Of customers who turned to something they were shown."""
        return self.takers / self.customers


@dataclass(frozen=True, slots=True)
class Comparison:
    """An experiment's arms, the largest first: the others are compared with it."""

    experiment: str
    arms: Sequence[Arm]


@dataclass(frozen=True, slots=True)
class Difference:
    """In share of customers, with its 95 % interval."""

    points: float
    low: float
    high: float

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out nought."""
        return self.low > 0 or self.high < 0


def compare(files: Sequence[Path], name: str | None, within_hours: float) -> Comparison | None:
    """The experiment of this name, or the one of the latest exposure. None where nobody was exposed."""
    paths = [str(path) for path in files]
    if not paths:
        return None
    with duckdb.connect() as database:
        database.execute(_EXPOSED, [paths, RECOMMENDATION_EXPOSED, name, name])
        newest = database.execute(_EXPERIMENT).fetchone()
        if newest is None:
            return None
        experiment = str(newest[0])
        values = [paths, CONTENT_VIEWED, CONTENT_LIKED, experiment, experiment]
        rows = database.execute(_ARMS, [*values, int(within_hours * HOUR_MS), CONTENT_LIKED]).fetchall()
    return Comparison(experiment, [Arm(*row) for row in rows])


def difference(arm: Arm, other: Arm) -> Difference:
    """Of an arm's share to another's."""
    points = arm.share - other.share
    variance = sum(one.share * (1 - one.share) / one.customers for one in (arm, other))
    error = _95_PERCENT * sqrt(variance)
    return Difference(points, points - error, points + error)
