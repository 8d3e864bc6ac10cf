"""`python train_many.py SPEC`: several trainings in one Spark, since its start is most of a small one.

SPEC is JSON: Spark's configuration, the arguments of each training, and archives to read while files move.
What became of each goes to stdout.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from recommender_trigger.job.events import classified
from recommender_trigger.job.files import ArchiveError, read_files
from recommender_trigger.job.train import arguments, train


def main() -> None:
    """Train with each of the arguments; a reason in place of the manifest where the archive is refused."""
    spec = json.loads(sys.argv[1])
    builder = SparkSession.builder.master("local[2]").appName("tests")
    for name, value in spec["conf"].items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setLogLevel("ERROR")
    told = []
    for argv in spec["trainings"]:
        try:
            told.append({"manifest": train(spark, arguments(argv))})
        except ArchiveError as error:
            told.append({"refused": str(error)})
    told += [_read(spark, **read) for read in spec["reads"]]
    spark.stop()
    sys.stdout.write(json.dumps(told))


def _read(spark: SparkSession, uri: str, moves: list[list[tuple[str, str]]]) -> dict[str, Any]:
    """What is read of an archive in which files move as each pass over it begins."""
    left = iter(moves)

    def moving(rows: DataFrame) -> DataFrame:
        for source, target in next(left, []):
            Path(source).replace(target)
        return classified(rows, sys.maxsize // 2)

    try:
        read = read_files(spark, uri, moving)
    except ArchiveError as error:
        return {"refused": f"{type(error).__name__}: {error}"}
    return {"kinds": read.kinds, "broken": read.refused, "rows": read.files.count()}


if __name__ == "__main__":
    main()
