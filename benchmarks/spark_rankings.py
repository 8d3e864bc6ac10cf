"""`spark-submit spark_rankings.py SPEC`: the job's own parts on splits of MovieLens, lists as JSON.

SPEC names archives, an output for the whole job on the first split, and a file for the lists of rankings.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

from recommender_trigger.job.events import read_archive
from recommender_trigger.job.model import Model, Recipe, blend, fit
from recommender_trigger.job.train import arguments, train

NO_AGE_DAYS = "36500"
"""Leaving out everybody's last view is no split by time: nothing is too old for it."""


def lists_of(
    model: Model, customers: DataFrame, names: list[str], recipes: dict[str, Recipe], most: int
) -> dict[str, dict[str, list[str]]]:
    """By recipe and customer, contents best first."""
    ranker, users, pairs = model
    seen = pairs.groupBy("u").agg(F.collect_list("i").alias("seen"))
    found: dict[str, dict[str, list[str]]] = {name: {} for name in recipes}
    for row in users.join(seen, "u").join(customers, "u").collect():
        user = np.array(row["features"])
        for name, recipe in recipes.items():
            listed = ranker.listed(row["u"], user, recipe, row["seen"], most)
            found[name][row["customer_id"]] = [names[i] for i in listed]
    return found


def rankings(spark: SparkSession, args: Any, recipes: dict[str, Recipe], most: int) -> dict[str, Any]:
    """Lists of a model of everything in the archive."""
    archive = read_archive(spark, args)
    names = [row["content_id"] for row in archive.contents.orderBy("i").collect()]
    model = fit(archive.events, args.as_of_ms, len(names), args)
    return lists_of(model, archive.customers, names, recipes, most)


def main() -> None:
    """Both splits in one session, since most of a small job is Spark's own start."""
    spec = json.loads(Path(sys.argv[1]).read_text())
    spark = SparkSession.builder.appName("rankings").getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    common = ["--run-id", "bench", "--output", spec["output"]]
    by_time = arguments(["--archive", spec["by_time"], "--as-of-ms", str(spec["split_ms"]), *common])
    manifest = train(spark, by_time)
    beta = manifest["metrics"]["beta"]
    recipes = {"als": Recipe(taste=1.0), "blend": blend(beta), "served": blend(beta, ruled=True)}
    found = {"by_time": rankings(spark, by_time, recipes, spec["most"])}
    for name, archive, seed in spec["last_out"]:
        options = ["--archive", archive, "--as-of-ms", str(spec["end_ms"]), "--seed", str(seed)]
        last_out = arguments([*options, "--half-life-days", NO_AGE_DAYS, *common])
        found[name] = rankings(spark, last_out, {"als": Recipe(taste=1.0)}, spec["most"])
    Path(spec["lists"]).write_text(json.dumps(found))
    spark.stop()


if __name__ == "__main__":
    main()
