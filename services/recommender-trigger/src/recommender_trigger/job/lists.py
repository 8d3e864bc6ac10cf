"""The lists that a run writes: one line a customer."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender_trigger.job.events import Archive
from recommender_trigger.job.judging import TOP
from recommender_trigger.job.model import blend, fit, spread

PART_LISTS = 5000
"""The most in one file: the trigger reads a file at a time into its memory."""


def write_lists(archive: Archive, beta: float, args: argparse.Namespace) -> dict[str, Any]:
    """Write a list for everybody who is known; how many, and how much of the catalogue they show."""
    names = [row["content_id"] for row in archive.contents.orderBy("i").collect()]
    ranker, users, pairs = fit(archive.events, args.as_of_ms, len(names), args)
    history = pairs.groupBy("u").agg(F.collect_list(F.struct("liked", "i", "rating")).alias("history"))
    recipe = blend(beta, ruled=True)

    def lines(rows: Iterable[Any]) -> Iterator[tuple[str, int, list[int]]]:
        for row in rows:
            user, seen = np.array(row["features"]), [h["i"] for h in row["history"]]
            scores = ranker.scores(user, recipe)
            reasons = sorted((h["i"], h["liked"]) for h in row["history"] if h["rating"] > 0)
            numbers = ranker.listed(row["u"], user, recipe, seen, args.list_length)
            items = [
                {
                    "content_id": names[i],
                    "score": round(float(scores[i]), 4),
                    "because": [names[n] for n in ranker.because(i, reasons)],
                }
                for i in numbers
            ]
            if items:
                line = json.dumps({"customer_id": row["customer_id"], "items": items})
                yield line, len(items), numbers[:TOP]

    # In the order of the numbers, so that equal runs write equal files.
    known = spread(users.join(history, "u").join(archive.customers, "u")).sortWithinPartitions("u")
    written = known.rdd.mapPartitions(lines).toDF("value string, items int, top array<int>").cache()
    parts = written.select("value").write.mode("overwrite").option("maxRecordsPerFile", PART_LISTS)
    parts.text(f"{args.output}/recommendations")
    total = written.agg(F.count("*"), F.coalesce(F.sum("items"), F.lit(0))).collect()[0]
    shown = written.select(F.explode("top")).distinct().count()
    return {
        "customers": int(total[0]),
        "items": int(total[1]),
        "coverage": round(shown / max(1, int(ranker.known.sum())), 4),
    }
