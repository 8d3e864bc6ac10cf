"""`python train_many.py SPEC`: several trainings in one Spark, since its start is most of a small one.

SPEC is JSON: Spark's configuration, and the arguments of each training. What became of each goes to stdout.
"""

import json
import sys

from pyspark.sql import SparkSession

from recommender_trigger.job.events import UnreadableArchiveError
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
        except UnreadableArchiveError as error:
            told.append({"refused": str(error)})
    spark.stop()
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
