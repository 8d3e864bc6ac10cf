"""The model: implicit ALS on events weighed by recency, blended with what is trending, and its rules."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender_trigger.job.events import DAY_MS, DISLIKED, HIDDEN, LIKED, OPINIONS, VIEWED

WEIGHTS = {VIEWED: 1.0, LIKED: 4.0}
LEAST_DECAY = 1e-3
MAX_REASONS = 3
_FEWEST_PARTS = 4
_PARTS_A_CORE = 2
LIKED_AHEAD = 0.1
"""By how much a liked content is preferred as a reason, in cosine."""

Array = Any
"""A numpy array: its types are not installed everywhere that this file is checked."""


class Recipe(NamedTuple):
    """How a ranking is made: weights of standardized scores, and whether the rules for lists apply."""

    taste: float = 0.0
    trend: float = 0.0
    popular: float = 0.0
    ruled: bool = False


def blend(beta: float, *, ruled: bool = False) -> Recipe:
    """z(ALS) + beta z(log1p(trend))."""
    return Recipe(1.0, beta, 0.0, ruled)


@dataclass(frozen=True)
class Rules:
    """What becomes of a ranking before it is a list."""

    own_share: float
    """Share of places for the customer's own taste: else everybody is shown the same few contents."""
    own_beta: float
    """Weight of the trend in these places."""
    new_share: float
    """Share of places for new contents, drawn by lot: a model knows nothing of them yet."""
    seed: int

    def kinds(self, most: int) -> list[str]:
        """What each of the first places is for."""
        return [
            "new" if _falls(place, self.new_share) else "own" if _falls(place, self.own_share) else "blend"
            for place in range(1, most + 1)
        ]


def _falls(place: int, share: float) -> bool:
    """Whether a share of all places, evenly spread, has one here."""
    return int(place * share + 1e-9) > int((place - 1) * share + 1e-9)


def touched(events: DataFrame, as_of_ms: float, args: argparse.Namespace) -> DataFrame:
    """One row a customer and content as of a moment: what the customer's events say about it.

    Every pair that was touched is there, since it is not recommended again; `rating` is 0 where the last
    word of the customer was an unlike or worse. A like counts once however often it was sent.
    """
    past = events.where(F.col("t") < as_of_ms)
    rank = F.row_number().over(Window.partitionBy("u").orderBy(F.desc("t"), F.desc("id"))) - 1
    age_days = (F.lit(as_of_ms) - F.col("t")) / DAY_MS
    decay = F.pow(2.0, -age_days / args.half_life_days - rank / args.half_life_events)
    weighed = past.withColumn("decay", F.greatest(decay, F.lit(LEAST_DECAY)))
    opinion = F.when(F.col("type").isin(*OPINIONS), F.struct("t", "id", "type", "decay"))
    pairs = weighed.groupBy("u", "i").agg(
        F.coalesce(F.sum(F.when(F.col("type") == VIEWED, F.col("decay"))), F.lit(0.0)).alias("views"),
        F.max(opinion).alias("opinion"),
    )
    liked = F.coalesce(F.col("opinion.type") == LIKED, F.lit(False))
    return pairs.select(
        "u",
        "i",
        liked.alias("liked"),
        # Rounded: a sum of floats depends on the order in which a shuffle delivers them.
        F.round(
            F.when(liked, WEIGHTS[VIEWED] * F.col("views") + WEIGHTS[LIKED] * F.col("opinion.decay"))
            .when(F.col("opinion").isNotNull(), 0.0)
            .otherwise(WEIGHTS[VIEWED] * F.col("views")),
            6,
        ).alias("rating"),
    )


class Contents(NamedTuple):
    """What everybody did with each content as of a moment, by content number."""

    trend: Array
    popular: Array
    is_new: Array


def contents_of(events: DataFrame, as_of_ms: float, size: int, args: argparse.Namespace) -> Contents:
    """Customers by decayed weight, customers, and whether it is new: young, and no affair of a few."""
    weight = F.when(F.col("type") == LIKED, WEIGHTS[LIKED]).when(F.col("type") == VIEWED, WEIGHTS[VIEWED])
    age_days = (F.lit(as_of_ms) - F.col("t")) / DAY_MS
    wanted = ~F.col("type").isin(HIDDEN, DISLIKED)
    # A customer counts for as much as its newest event: nobody makes a trend alone.
    of_customers = (
        events.where(F.col("t") < as_of_ms)
        .groupBy("i", "u")
        .agg(
            F.max(weight * F.pow(2.0, -age_days / args.trend_half_life_days)).alias("trend"),
            F.max(wanted.cast("int")).alias("popular"),
            F.min("t").alias("first_ms"),
        )
    )
    rows = (
        of_customers.groupBy("i")
        .agg(
            F.sum("trend").alias("trend"),
            F.sum("popular").alias("popular"),
            F.min("first_ms").alias("first_ms"),
        )
        .collect()
    )
    contents = Contents(np.zeros(size), np.zeros(size), np.zeros(size, dtype=bool))
    for row in rows:
        contents.trend[row["i"]] = round(row["trend"] or 0.0, 6)
        contents.popular[row["i"]] = row["popular"]
        # One alone, or two, could push a made-up content to everybody.
        is_young = row["first_ms"] >= as_of_ms - args.new_days * DAY_MS
        contents.is_new[row["i"]] = is_young and row["popular"] >= args.new_customers
    return contents


class Ranker:
    """Ranks contents for a customer, what the customer has touched left out."""

    def __init__(self, factors: Array, known: Array, contents: Contents, rules: Rules) -> None:
        self.factors, self.known, self.rules = factors, known, rules
        self.trend = self._z(np.log1p(contents.trend))
        self.popular = self._z(contents.popular)
        self.new = np.flatnonzero(contents.is_new & known)
        norms = np.linalg.norm(factors, axis=1, keepdims=True)
        self.directions = factors / np.where(norms > 0, norms, 1)

    def _z(self, scores: Array) -> Array:
        among = scores[self.known]
        spread = among.std() if among.size else 0.0
        return (scores - among.mean()) / spread if spread > 0 else np.zeros_like(scores)

    def scores(self, user: Array, recipe: Recipe) -> Array:
        """Score of every content for a customer's factors."""
        scores = recipe.trend * self.trend + recipe.popular * self.popular
        return scores + recipe.taste * self._z(self.factors @ user) if recipe.taste else scores

    def listed(self, u: int, user: Array, recipe: Recipe, seen: Sequence[int], most: int) -> list[int]:
        """Numbers of the contents to show a customer, best first."""
        allowed = self.known.copy()
        allowed[list(seen)] = False
        ranked = best(self.scores(user, recipe), allowed, most)
        if not recipe.ruled:
            return ranked
        kinds = self.rules.kinds(most)
        own = best(self.scores(user, blend(self.rules.own_beta)), allowed, most + kinds.count("own"))
        new = self._drawn(u, allowed) if "new" in kinds else []
        sources = {"blend": iter(ranked), "own": iter(own), "new": iter(new)}
        taken: dict[int, None] = {}
        for kind in kinds:
            for name in (kind, "blend"):
                found = next((i for i in sources[name] if i not in taken), None)
                if found is not None:
                    taken[found] = None
                    break
        return list(taken)

    def _drawn(self, u: int, allowed: Array) -> list[int]:
        """New contents in an order of the customer's own, the same in every run with the seed."""
        new = self.new[allowed[self.new]]
        return [int(i) for i in np.random.default_rng((self.rules.seed, u)).permutation(new)]

    def because(self, content: int, history: Sequence[tuple[int, bool]]) -> list[int]:
        """What of a customer's [(number, liked)] is most like a content, what was liked a little ahead."""
        numbers = np.array([number for number, _ in history], dtype=int)
        if not numbers.size:
            return []
        likeness = self.directions[numbers] @ self.directions[content]
        liked = np.array([liked for _, liked in history], dtype=float)
        order = np.lexsort((numbers, -(likeness + LIKED_AHEAD * liked)))
        return [int(numbers[n]) for n in order[:MAX_REASONS] if likeness[n] > 0]


def best(scores: Array, allowed: Array, most: int) -> list[int]:
    """Numbers of the best allowed contents, best first; ties by number, so that runs agree."""
    numbers = np.flatnonzero(allowed)
    worths = -scores[numbers]
    if numbers.size > most:
        within = worths <= np.partition(worths, most - 1)[most - 1]
        numbers, worths = numbers[within], worths[within]
    return [int(i) for i in numbers[np.lexsort((numbers, worths))[:most]]]


def spread(customers: DataFrame) -> DataFrame:
    """Rows by u, over all cores: they are few for Spark, which would give them all to one task, and much work
    for Python."""
    cores = customers.sparkSession.sparkContext.defaultParallelism
    return customers.repartition(max(_FEWEST_PARTS, _PARTS_A_CORE * cores), "u")


class Model(NamedTuple):
    """What was learnt from the events before a moment."""

    ranker: Ranker
    users: DataFrame
    """u, features: customers' factors."""
    pairs: DataFrame
    """What `touched` gives, cached."""


def fit(events: DataFrame, as_of_ms: float, size: int, args: argparse.Namespace) -> Model:
    """Learn from what happened before a moment."""
    pairs = touched(events, as_of_ms, args).cache()
    contents = contents_of(events, as_of_ms, size, args)
    rules = Rules(args.own_share, args.own_beta, args.new_share, args.seed)
    factors, known = np.zeros((size, args.rank)), np.zeros(size, dtype=bool)
    ratings = pairs.where("rating > 0")
    if ratings.isEmpty():
        users = events.sparkSession.createDataFrame([], "u int, features array<float>")
        return Model(Ranker(factors, known, contents, rules), users, pairs)
    blocks = max(1, min(10, events.sparkSession.sparkContext.defaultParallelism))
    als = ALS(
        rank=args.rank,
        maxIter=args.iterations,
        regParam=args.reg_param,
        alpha=args.alpha,
        implicitPrefs=True,
        userCol="u",
        itemCol="i",
        ratingCol="rating",
        seed=args.seed,
        checkpointInterval=-1,
        numUserBlocks=blocks,
        numItemBlocks=blocks,
    )
    learnt = als.fit(ratings.orderBy("u", "i"))
    for row in learnt.itemFactors.collect():
        factors[row["id"]] = row["features"]
        known[row["id"]] = True
    return Model(
        Ranker(factors, known, contents, rules), learnt.userFactors.withColumnRenamed("id", "u"), pairs
    )
