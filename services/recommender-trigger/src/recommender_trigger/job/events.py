"""From the archive's files to the events that a model learns from, and an account of what was left out."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, SparkSession, Window
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender_trigger.job.files import UnreadableArchiveError, read_files

IDENTITY = ["customer_id", "device_id", "occurred_at_ms", "id"]
VIEWED, LIKED, UNLIKED = "content.viewed", "content.liked", "content.unliked"
HIDDEN, DISLIKED = "content.hidden", "content.disliked"
OPINIONS = (LIKED, UNLIKED, HIDDEN, DISLIKED)
"""What a customer says of a content; the last word stands."""
ABOUT_CONTENT = (VIEWED, *OPINIONS)
DAY_MS = 86_400_000
MOST_FILES_NAMED = 20


@dataclass(frozen=True)
class Archive:
    """What was read. Customers and contents are numbered, in the order of their names."""

    events: DataFrame
    """u, i, type, t (milliseconds since 1970), id; of contents that somebody has viewed or liked."""
    customers: DataFrame
    contents: DataFrame
    counts: dict[str, int]
    """Rows by what became of them."""
    refused_files: list[dict[str, Any]]
    """Files that could not be read: name, rows that each promises, rows that were lost."""
    days: list[tuple[int, int]]
    """(day since 1970, events used), for the report."""


def read_archive(spark: SparkSession, args: argparse.Namespace) -> Archive:
    """The app's events. UnreadableArchiveError beyond `--max-refused-share` of the files."""
    read = read_files(spark, args.archive, lambda rows: classified(rows, args.as_of_ms))
    refused = read.refused
    counts = {"rows": sum(read.kinds.values()), "content": 0} | read.kinds
    counts |= {
        "files": read.files_in_all,
        "files_refused": len(refused),
        "rows_lost": sum(file["rows_lost"] or 0 for file in refused),
    }
    if len(refused) > args.max_refused_share * max(1, read.files_in_all):
        names = ", ".join(file["file"] for file in refused[:3])
        raise UnreadableArchiveError(f"{len(refused)} of {read.files_in_all} files cannot be read: {names}")
    rows = classified(read.files, args.as_of_ms)
    return _used(spark, rows.where("kind = 'content'"), counts, refused, args)


def _used(
    spark: SparkSession,
    content: DataFrame,
    counts: dict[str, int],
    refused: list[dict[str, Any]],
    args: argparse.Namespace,
) -> Archive:
    # Of impostors with the identity of another event the same one is taken in every run.
    good = content.groupBy(*IDENTITY).agg(F.min(F.struct("type", "content_id")).alias("what"))
    good = good.select("customer_id", "occurred_at_ms", "id", "what.*").cache()
    used = capped(good, args).cache()
    distinct = good.count()
    days = used.groupBy(F.floor(F.col("t") / DAY_MS).alias("day")).count().orderBy("day").collect()
    counts["duplicates"] = counts["content"] - distinct
    counts["used"] = sum(day["count"] for day in days)
    counts["capped"] = distinct - counts["used"]
    good.unpersist()
    customers = numbered(spark, used, "customer_id", "u")
    # What nobody has turned to is in no list anyway: hiding made-up names must not make the model large.
    turned_to = used.where(F.col("type").isin(VIEWED, LIKED))
    contents = numbered(spark, turned_to, "content_id", "i")
    events = (
        used.join(customers, "customer_id")
        .join(F.broadcast(contents), "content_id")
        .select("u", "i", "type", "t", "id")
        .cache()
    )
    counts |= {"customers": customers.count(), "contents": contents.count()}
    # Numbers alone from here on: names are many times as large.
    events.count()
    used.unpersist()
    return Archive(events, customers, contents, counts, refused, [(day["day"], day["count"]) for day in days])


def classified(rows: DataFrame, as_of_ms: int) -> DataFrame:
    """Rows with their kind: why one is not used, or `content`.

    `unnamed`: without an id, a type, a customer or a time; `no_content`: about a content that it does not
    name; `future` and `before_1970`: no clock says so; `not_counted`: as the archive has it; `later`: came
    while the run began, for the next one; `other`: about no content.
    """
    about_content = F.col("type").isin(*ABOUT_CONTENT)
    time = F.col("occurred_at_ms")
    kind = (
        F.when(_empty("id") | _empty("type") | _empty("customer_id") | time.isNull(), "unnamed")
        .when(~F.coalesce("counted", F.lit(False)), "not_counted")
        .when(time >= as_of_ms + DAY_MS, "future")
        .when(time < 0, "before_1970")
        .when(~about_content, "other")
        .when(_empty("content_id"), "no_content")
        .when(time >= as_of_ms, "later")
        .otherwise("content")
    )
    return rows.withColumn("kind", kind)


def _empty(name: str) -> Column:
    return F.coalesce(F.col(name), F.lit("")) == ""


def capped(events: DataFrame, args: argparse.Namespace) -> DataFrame:
    """The newest events of each customer and day, and of each customer: nobody outweighs all others.

    What a customer has hidden or disliked is never forgotten for it.
    """
    newest_first = [F.desc("occurred_at_ms"), F.desc("id")]
    excluding = F.col("type").isin(HIDDEN, DISLIKED)
    day = Window.partitionBy("customer_id", F.floor(F.col("occurred_at_ms") / DAY_MS)).orderBy(*newest_first)
    customer = Window.partitionBy("customer_id").orderBy(*newest_first)
    return (
        events.withColumn("nth", F.row_number().over(day))
        .where(excluding | (F.col("nth") <= args.max_events_per_day))
        .withColumn("nth", F.row_number().over(customer))
        .where(excluding | (F.col("nth") <= args.max_events))
        .select("customer_id", "content_id", "type", F.col("occurred_at_ms").alias("t"), "id")
    )


def numbered(spark: SparkSession, events: DataFrame, column: str, number: str) -> DataFrame:
    """Names with numbers from 0 in the order of the names, so that a seed reproduces a run."""
    names = events.select(column).distinct().orderBy(column).rdd.map(lambda row: row[0]).zipWithIndex()
    return spark.createDataFrame(names, f"{column} string, {number} int").cache()
