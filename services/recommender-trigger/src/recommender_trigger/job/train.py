"""The training job: archive in, recommendations and a manifest out.

One self-contained file for PySpark 3.5, the same under `spark-submit --master local[*]` and on EMR: only
the URIs differ. It reads the events of one app, trains implicit ALS with recency, blends it with what is
trending, judges itself on the most recent slice, and writes lists only if it is good enough.
`manifest.json` is written last: where it lies, the output is whole. The same archive, arguments and number
of cores give the same lists. Keep it to Python 3.9, which is what EMR 7 runs it with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from pyspark.ml.recommendation import ALS
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

SCHEMA = (
    "id string, type string, customer_id string, device_id string, occurred_at_ms long, counted boolean, "
    "content_id string"
)
IDENTITY = ["customer_id", "device_id", "occurred_at_ms", "id"]
VIEWED, LIKED, UNLIKED = "content.viewed", "content.liked", "content.unliked"
WEIGHTS = {VIEWED: 1.0, LIKED: 4.0}
DAY_MS = 86_400_000.0
TOP = 10
BETAS = (0.0, 0.5, 1.0, 2.0, 4.0, 6.0, 9.0)
DEFAULT_BETA = 6.0
FEWEST_USERS_FOR_A_SWEEP = 10
SLICE = 0.2
"""Share of the events, the newest, on which a model is judged."""

MAX_REASONS = 3

Array = Any
"""A numpy array: its types are not installed everywhere that this file is checked."""


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What the launcher passes; every value goes into the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--archive", required=True, help="URI of the app's events (Parquet by date)")
    parser.add_argument("--output", required=True, help="URI of a folder that does not exist yet")
    parser.add_argument("--run-id", required=True)
    parser.add_argument("--as-of-ms", type=int, required=True, help="the present, for every decay")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--reg-param", type=float, default=0.03)
    parser.add_argument("--alpha", type=float, default=20.0)
    parser.add_argument("--half-life-days", type=float, default=60.0)
    parser.add_argument("--half-life-events", type=float, default=5.0)
    parser.add_argument("--trend-half-life-days", type=float, default=7.0)
    parser.add_argument("--max-events-per-day", type=int, default=1000, help="of one customer; newest first")
    parser.add_argument("--max-events", type=int, default=10_000, help="of one customer; newest first")
    parser.add_argument("--list-length", type=int, default=30)
    parser.add_argument("--min-warm-users", type=int, default=50)
    return parser.parse_args(argv)


def read_events(
    spark: SparkSession, args: argparse.Namespace
) -> tuple[DataFrame, DataFrame, DataFrame, dict[str, int]]:
    """(content events by customer number u and content number i, names of both, counts)."""
    rows = classified(spark.read.schema(SCHEMA).option("recursiveFileLookup", True).parquet(args.archive))
    good = rows.where("kind = 'content'").dropDuplicates(IDENTITY)
    used = capped(good, args).cache()
    customers = numbered(spark, used, "customer_id", "u")
    contents = numbered(spark, used, "content_id", "i")
    counts = {"rows": 0, "bad": 0, "not_counted": 0, "other": 0, "content": 0}
    for row in rows.groupBy("kind").agg(F.count("*").alias("rows")).collect():
        counts[row["kind"]] = row["rows"]
        counts["rows"] += row["rows"]
    counts["duplicates"] = counts["content"] - good.count()
    counts["used"] = used.count()
    events = (
        used.join(customers, "customer_id")
        .join(F.broadcast(contents), "content_id")
        .select("u", "i", "type", "t", "id")
        .cache()
    )
    return events, customers, contents, counts


def classified(rows: DataFrame) -> DataFrame:
    """Rows with their kind: bad, not_counted, other (about no content) or content."""
    present = [F.coalesce(F.col(name), F.lit("")) != "" for name in ("id", "type", "customer_id")]
    whole = present[0] & present[1] & present[2] & F.col("occurred_at_ms").isNotNull()
    about_content = F.col("type").isin(VIEWED, LIKED, UNLIKED)
    named = F.coalesce(F.col("content_id"), F.lit("")) != ""
    kind = (
        F.when(~whole | (about_content & ~named), "bad")
        .when(~F.coalesce("counted", F.lit(False)), "not_counted")
        .when(~about_content, "other")
        .otherwise("content")
    )
    return rows.withColumn("kind", kind)


def capped(events: DataFrame, args: argparse.Namespace) -> DataFrame:
    """The newest events of each customer and day, and of each customer: nobody outweighs all others."""
    newest_first = [F.desc("occurred_at_ms"), F.desc("id")]
    day = Window.partitionBy("customer_id", F.floor(F.col("occurred_at_ms") / DAY_MS)).orderBy(*newest_first)
    customer = Window.partitionBy("customer_id").orderBy(*newest_first)
    return (
        events.withColumn("nth", F.row_number().over(day))
        .where(F.col("nth") <= args.max_events_per_day)
        .withColumn("nth", F.row_number().over(customer))
        .where(F.col("nth") <= args.max_events)
        .select("customer_id", "content_id", "type", F.col("occurred_at_ms").alias("t"), "id")
    )


def numbered(spark: SparkSession, events: DataFrame, column: str, number: str) -> DataFrame:
    """Names with numbers from 0 in the order of the names, so that a seed reproduces a run."""
    names = events.select(column).distinct().orderBy(column).rdd.map(lambda row: row[0]).zipWithIndex()
    return spark.createDataFrame(names, f"{column} string, {number} int").cache()


def touched(events: DataFrame, as_of_ms: float, args: argparse.Namespace) -> DataFrame:
    """One row a customer and content as of a moment: what the customer's events say about it.

    Every pair that was touched is there, since it is not recommended again; `rating` is 0 where the last
    word of the customer was an unlike. A like counts once however often it was sent.
    """
    past = events.where(F.col("t") < as_of_ms)
    rank = F.row_number().over(Window.partitionBy("u").orderBy(F.desc("t"), F.desc("id"))) - 1
    age_days = (F.lit(as_of_ms) - F.col("t")) / DAY_MS
    decay = F.pow(2.0, -age_days / args.half_life_days - rank / args.half_life_events)
    weighed = past.withColumn("decay", F.greatest(decay, F.lit(1e-3)))
    opinion = F.when(F.col("type").isin(LIKED, UNLIKED), F.struct("t", "id", "type", "decay"))
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
            F.when(F.coalesce(F.col("opinion.type") == UNLIKED, F.lit(False)), 0.0)
            .when(liked, WEIGHTS[VIEWED] * F.col("views") + WEIGHTS[LIKED] * F.col("opinion.decay"))
            .otherwise(WEIGHTS[VIEWED] * F.col("views")),
            6,
        ).alias("rating"),
    )


def trend_of(events: DataFrame, as_of_ms: float, size: int, args: argparse.Namespace) -> Array:
    """Decayed weight of each content as of a moment, by content number."""
    weight = F.when(F.col("type") == LIKED, WEIGHTS[LIKED]).when(F.col("type") == VIEWED, WEIGHTS[VIEWED])
    age_days = (F.lit(as_of_ms) - F.col("t")) / DAY_MS
    rows = (
        events.where(F.col("t") < as_of_ms)
        .groupBy("i")
        .agg(F.sum(weight * F.pow(2.0, -age_days / args.trend_half_life_days)).alias("trend"))
        .collect()
    )
    trend = np.zeros(size)
    for row in rows:
        trend[row["i"]] = round(row["trend"] or 0.0, 6)
    return trend


class Ranker:
    """Ranks contents for a customer: z(ALS) + beta z(log1p(trend)), what was touched left out."""

    def __init__(self, factors: Array, known: Array, trend: Array) -> None:
        self.factors, self.known = factors, known
        self.trend = self._z(np.log1p(trend))
        norms = np.linalg.norm(factors, axis=1, keepdims=True)
        self.directions = factors / np.where(norms > 0, norms, 1)

    def _z(self, scores: Array) -> Array:
        among = scores[self.known]
        spread = among.std() if among.size else 0.0
        return (scores - among.mean()) / spread if spread > 0 else np.zeros_like(scores)

    def best(self, scores: Array, seen: Sequence[int], most: int) -> Array:
        """Numbers of the best contents, best first; ties by number, so that runs agree."""
        allowed = self.known.copy()
        allowed[seen] = False
        numbers = np.flatnonzero(allowed)
        return numbers[np.lexsort((numbers, -scores[numbers]))[:most]]

    def scores(self, user: Array, beta: float) -> Array:
        """Score of every content for a customer's factors."""
        return self._z(self.factors @ user) + beta * self.trend

    def because(self, content: int, history: Sequence[tuple[int, bool]]) -> list[int]:
        """What of a customer's [(number, liked)] is most like a content, what was liked a little ahead."""
        numbers = np.array([number for number, _ in history], dtype=int)
        if not numbers.size:
            return []
        likeness = self.directions[numbers] @ self.directions[content]
        liked = np.array([liked for _, liked in history], dtype=float)
        order = np.lexsort((numbers, -(likeness + 0.1 * liked)))
        return [int(numbers[n]) for n in order[:MAX_REASONS] if likeness[n] > 0]


def fit(
    events: DataFrame, as_of_ms: float, size: int, args: argparse.Namespace
) -> tuple[Ranker, DataFrame, DataFrame]:
    """(ranker, customers' factors, touched pairs) learnt from what happened before a moment."""
    pairs = touched(events, as_of_ms, args).cache()
    ratings = pairs.where("rating > 0").orderBy("u", "i")
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
    model = als.fit(ratings)
    factors, known = np.zeros((size, args.rank)), np.zeros(size, dtype=bool)
    for row in model.itemFactors.collect():
        factors[row["id"]] = row["features"]
        known[row["id"]] = True
    ranker = Ranker(factors, known, trend_of(events, as_of_ms, size, args))
    return ranker, model.userFactors.withColumnRenamed("id", "u"), pairs


def ndcg(ranked: Sequence[int], wanted: set[int]) -> float:
    """NDCG@10 of a ranking with binary relevance."""
    gains = [1 / np.log2(place + 2) for place, number in enumerate(ranked[:TOP]) if number in wanted]
    return float(sum(gains) / sum(1 / np.log2(place + 2) for place in range(min(TOP, len(wanted)))))


def judge(
    events: DataFrame,
    window_ms: tuple[float, float],
    size: int,
    betas: Sequence[float],
    args: argparse.Namespace,
) -> dict[str, Any]:
    """Figures of a model that knows what came before a window, on what came in it.

    Warm customers only: known before, and with something new afterwards that was known before.
    """
    cutoff_ms, until_ms = window_ms
    ranker, users, pairs = fit(events, cutoff_ms, size, args)
    later = events.where((F.col("t") >= cutoff_ms) & (F.col("t") < until_ms) & (F.col("type") != UNLIKED))
    wanted = later.groupBy("u").agg(F.collect_set("i").alias("wanted"))
    seen = pairs.groupBy("u").agg(F.collect_list("i").alias("seen"))

    def of_customers(rows: Iterable[Any]) -> Iterator[tuple[int, list[float], float, list[list[int]]]]:
        for row in rows:
            new = {i for i in row["wanted"] if ranker.known[i]} - set(row["seen"])
            if new:
                user = np.array(row["features"])
                tops = [ranker.best(ranker.scores(user, beta), row["seen"], TOP).tolist() for beta in betas]
                trending = ranker.best(ranker.trend, row["seen"], TOP).tolist()
                yield row["u"], [ndcg(top, new) for top in tops], ndcg(trending, new), tops

    # Sorted, so that sums of floats come out the same in every run.
    found = sorted(users.join(wanted, "u").join(seen, "u").rdd.mapPartitions(of_customers).collect())
    pairs.unpersist()
    count = max(1, len(found))
    return {
        "warm_users": len(found),
        "ndcg": [sum(figures[n] for _, figures, _, _ in found) / count for n in range(len(betas))],
        "ndcg_by_customer": [figures for _, figures, _, _ in found],
        "ndcg_trending": sum(figure for _, _, figure, _ in found) / count,
        "coverage": [
            len({i for *_, tops in found for i in tops[n]}) / max(1, int(ranker.known.sum()))
            for n in range(len(betas))
        ],
    }


def gate(metrics: dict[str, Any], args: argparse.Namespace) -> tuple[bool, str]:
    """(whether to publish, why) from the figures of the judgement."""
    if metrics["warm_users"] < args.min_warm_users:
        return False, f"only {metrics['warm_users']} warm users to judge by, {args.min_warm_users} are needed"
    figures = f"NDCG@10 {metrics['ndcg']:.4f}, trending {metrics['ndcg_trending']:.4f}"
    if metrics["ndcg"] <= metrics["ndcg_trending"]:
        return False, f"no better than trending: {figures}"
    return True, figures


def chosen_beta(figures: Sequence[Sequence[float]]) -> float:
    """The beta of BETAS that an inner window speaks for, from its NDCG by customer and beta.

    The default stands unless another beats it by two standard errors of the customers' differences: on a
    narrow window the best of seven is often luck.
    """
    if len(figures) < FEWEST_USERS_FOR_A_SWEEP:
        return DEFAULT_BETA
    table = np.array(figures)
    best = int(np.argmax(table.mean(axis=0)))
    lead = table[:, best] - table[:, BETAS.index(DEFAULT_BETA)]
    error = lead.std(ddof=1) / np.sqrt(len(lead))
    return BETAS[best] if lead.mean() > 2 * error else DEFAULT_BETA


def evaluate(events: DataFrame, size: int, args: argparse.Namespace) -> dict[str, Any]:
    """Beta chosen on an inner window, the model judged with it on the newest slice."""
    quantiles = [(1 - SLICE) ** 2, 1 - SLICE]
    inner_ms, outer_ms = events.agg(F.percentile("t", F.array(*map(F.lit, quantiles)))).collect()[0][0]
    inner = judge(events, (inner_ms, outer_ms), size, BETAS, args)
    beta = chosen_beta(inner["ndcg_by_customer"])
    outer = judge(events, (outer_ms, args.as_of_ms), size, (0.0, beta), args)
    return {
        "warm_users": outer["warm_users"],
        "beta": beta,
        "ndcg": outer["ndcg"][1],
        "ndcg_als_alone": outer["ndcg"][0],
        "ndcg_trending": outer["ndcg_trending"],
        "coverage": outer["coverage"][1],
        "cutoff_ms": int(outer_ms),
    }


def write_lists(
    events: DataFrame, customers: DataFrame, contents: DataFrame, beta: float, args: argparse.Namespace
) -> tuple[int, int]:
    """Write a line a customer; (customers, items) written."""
    names = [row["content_id"] for row in contents.orderBy("i").collect()]
    ranker, users, pairs = fit(events, args.as_of_ms, len(names), args)
    history = pairs.groupBy("u").agg(F.collect_list(F.struct("liked", "i", "rating")).alias("history"))

    def lines(rows: Iterable[Any]) -> Iterator[tuple[str, int]]:
        for row in rows:
            scores = ranker.scores(np.array(row["features"]), beta)
            best = ranker.best(scores, [h["i"] for h in row["history"]], args.list_length)
            reasons = sorted((h["i"], h["liked"]) for h in row["history"] if h["rating"] > 0)
            items = [
                {
                    "content_id": names[i],
                    "score": round(float(scores[i]), 4),
                    "because": [names[n] for n in ranker.because(i, reasons)],
                }
                for i in best
            ]
            if items:
                yield json.dumps({"customer_id": row["customer_id"], "items": items}), len(items)

    rows = users.join(history, "u").join(customers, "u").rdd.mapPartitions(lines)
    written = rows.toDF("value string, items int").cache()
    written.select("value").write.mode("overwrite").text(f"{args.output}/recommendations")
    total = written.agg(F.count("*"), F.coalesce(F.sum("items"), F.lit(0))).collect()[0]
    return int(total[0]), int(total[1])


def write_text(spark: SparkSession, uri: str, text: str) -> None:
    """Write one small file through Hadoop, so that file:// and s3:// are the same."""
    # PySpark has no public way to Hadoop's file systems.
    hadoop: Any = spark._jvm  # noqa: SLF001
    path = hadoop.org.apache.hadoop.fs.Path(uri)
    stream = path.getFileSystem(spark._jsc.hadoopConfiguration()).create(path, True)  # noqa: SLF001
    try:
        stream.write(bytearray(text.encode()))
    finally:
        stream.close()


def train(spark: SparkSession, args: argparse.Namespace) -> dict[str, Any]:
    """The whole run; its manifest."""
    began = time.monotonic()
    config = {name: value for name, value in sorted(vars(args).items()) if name not in ("archive", "output")}
    events, customers, contents, counts = read_events(spark, args)
    counts |= {"customers": customers.count(), "contents": contents.count()}
    metrics: dict[str, Any] = {}
    publish, reason = False, "the archive holds no content events to learn from"
    if counts["used"]:
        metrics = evaluate(events, counts["contents"], args)
        publish, reason = gate(metrics, args)
    lists, items = write_lists(events, customers, contents, metrics["beta"], args) if publish else (0, 0)
    manifest = {
        "format": 1,
        "run_id": args.run_id,
        "config": config,
        "config_hash": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16],
        "counts": counts,
        "metrics": metrics,
        "gate": {"publish": publish, "reason": reason},
        "recommendations": {"customers": lists, "items": items},
        "seconds": round(time.monotonic() - began, 1),
    }
    write_text(spark, f"{args.output}/manifest.json", json.dumps(manifest, indent=1))
    return manifest


def main() -> None:
    """Run under spark-submit."""
    args = arguments()
    spark = SparkSession.builder.appName(f"kinstream-{args.run_id}").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    try:
        train(spark, args)
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
