"""Spark jobs as processes: archives to train on, and what a run takes."""

import importlib.util
import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.movielens import View
from benchmarks.runner import MissingError
from recommender_trigger.job_package import FILE_NAME, package
from recommender_trigger.launchers.local import last_error

CONF = {
    "spark.ui.enabled": "false",
    "spark.sql.shuffle.partitions": "4",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-Xss16m",
}
_JOB_SECONDS = 1_800


class Took(NamedTuple):
    """What a job took, Spark's start and end included."""

    seconds: float
    cpu_seconds: float
    """Of all its processes."""


def write_archive(folder: Path, columns: dict[str, Any]) -> None:
    """One file of views: `customer_id`, `content_id` and `occurred_at_ms`."""
    folder.mkdir()
    count = len(columns["content_id"])
    same = {"type": "content.viewed", "device_id": "browser", "counted": True}
    table = pa.table(
        columns | {name: pa.repeat(value, count) for name, value in same.items()} | {"id": _ids(count)}
    )
    pq.write_table(table, folder / "views.parquet", compression="zstd")


def columns_of(views: Sequence[View]) -> dict[str, Any]:
    """Views as columns of an archive."""
    return {
        "customer_id": [view.user for view in views],
        "content_id": [view.item for view in views],
        "occurred_at_ms": [view.at_seconds * 1000 for view in views],
    }


def submit(folder: Path, script: Path, arguments: Sequence[str], memory: str = "2g") -> Took:
    """Run a script with the job's modules on two cores; MissingError where it cannot be."""
    command = Path(sys.executable).with_name("spark-submit")
    if not command.exists():
        raise MissingError("needs pyspark: pip install 'kinstream-recommender-trigger[local]'")
    bundle = folder / FILE_NAME
    bundle.write_bytes(package())
    conf = [part for name, value in CONF.items() for part in ("--conf", f"{name}={value}")]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [
            *(str(command), "--master", "local[2]", "--driver-memory", memory, *conf),
            *("--py-files", str(bundle), str(script), *arguments),
        ],
        env=os.environ | {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable},
        capture_output=True,
        text=True,
        timeout=_JOB_SECONDS,
        check=False,
    )
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise MissingError(
            "the training job did not run (it needs Java 17: apt install openjdk-17-jre-headless): "
            + last_error(done.stderr)
        )
    cpu_seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(seconds, cpu_seconds)


def job_path() -> Path:
    """The training job's file, found without importing Spark."""
    spec = importlib.util.find_spec("recommender_trigger.job.train")
    assert spec
    assert spec.origin
    return Path(spec.origin)


def _ids(count: int) -> pa.Array:
    return pa.array([f"v{number}" for number in range(count)])
