"""The training job: archive in, recommendations and a manifest out.

What is submitted, the same under `spark-submit --master local[*]` and on EMR: only the URIs differ. It reads
the events of one app, trains implicit ALS with recency, blends it with what is trending, judges itself on
the most recent slice, and writes lists only if it is good enough. `manifest.json` is written last: where it
lies, the output is whole. The same archive, arguments and number of cores give the same lists.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from pyspark.sql import SparkSession

from recommender_trigger.job.events import MOST_FILES_NAMED, read_archive
from recommender_trigger.job.files import ArchiveError
from recommender_trigger.job.judging import evaluate, gate, parse_recipe, recipe_text
from recommender_trigger.job.lists import write_lists

FORMAT = 1
NOTHING_WRITTEN = {"customers": 0, "items": 0, "coverage": 0.0}


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What the launcher passes; every value goes into the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--archive", required=True, help="URI of the app's events (Parquet by date)")
    add("--output", required=True, help="URI of a folder that does not exist yet")
    add("--run-id", required=True)
    add("--as-of-ms", type=int, required=True, help="the present, for every decay")
    add("--seed", type=int, default=1)
    add("--rank", type=int, default=32)
    add("--iterations", type=int, default=10)
    add("--reg-param", type=float, default=0.03)
    add("--alpha", type=float, default=20.0)
    add("--beta", type=float, help="weight of the trend; chosen on the inner window where it is not given")
    add("--half-life-days", type=float, default=60.0)
    add("--half-life-events", type=float, default=5.0)
    add("--trend-half-life-days", type=float, default=7.0)
    add("--own-share", type=_share, default=0.1, help="of a list's places, for the customer's own taste")
    add("--own-beta", type=float, default=0.0, help="weight of the trend in those places")
    add("--new-share", type=_share, default=0.05, help="of a list's places, for new contents, by lot")
    add("--new-customers", type=int, default=3, help="from how many on a new content has such a place")
    add("--new-days", type=float, default=7.0, help="how long after its first event a content is new")
    add("--max-events-per-day", type=int, default=1000, help="of one customer; newest first")
    add("--max-events", type=int, default=10_000, help="of one customer; newest first")
    add(
        "--max-refused-share",
        type=_share,
        default=0.1,
        help="of files that cannot be read; more is a failure",
    )
    add("--list-length", type=int, default=30)
    add("--min-warm-users", type=int, default=50)
    add("--max-judged", type=int, default=10_000, help="customers, about, by whom a model is judged")
    add("--min-coverage", type=_share, default=0.01, help="of contents that lists of judged customers show")
    add("--incumbent", type=parse_recipe, help="recipe that is served now, as a manifest has it")
    return parser.parse_args(argv)


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"{text} is no share: it must lie between 0 and 1")
    return share


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
    """The whole run; its manifest. ArchiveError where too much of the archive cannot be read."""
    began = time.monotonic()
    config = {name: value for name, value in sorted(vars(args).items()) if name not in ("archive", "output")}
    archive = read_archive(spark, args)
    read = time.monotonic()
    metrics: dict[str, Any] = {}
    publish, reason = False, "the archive holds no content events to learn from"
    if archive.counts["contents"]:
        metrics = evaluate(archive.events, archive.counts["contents"], args)
        publish, reason = gate(metrics, args)
    judged = time.monotonic()
    lists = write_lists(archive, metrics["beta"], args) if publish else NOTHING_WRITTEN
    if publish and not lists["customers"]:
        publish, reason = False, "there was nothing left to recommend to anybody"
    manifest = {
        "format": FORMAT,
        "run_id": args.run_id,
        "config": config,
        "config_hash": hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16],
        "counts": archive.counts,
        "refused_files": archive.refused_files[:MOST_FILES_NAMED],
        "events_by_day": archive.days,
        "metrics": metrics,
        "recipe": recipe_text(args, metrics["beta"]) if metrics else None,
        "gate": {"publish": publish, "reason": reason},
        "recommendations": lists,
        "seconds": round(time.monotonic() - began, 1),
        "seconds_to": {"read": round(read - began, 1), "judge": round(judged - read, 1)},
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
    except ArchiveError as error:
        # The launcher looks for the line that names the error.
        sys.exit(f"{type(error).__name__}: {error}")
    finally:
        spark.stop()


if __name__ == "__main__":
    main()
