"""Trainings in a Spark of their own process, for tests."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from recommender_trigger.launchers.java import find_java_home

_CONF = {
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xss16m",
}
_SCRIPT = Path(__file__).with_name("train_many.py")
_SECONDS = 900


def train_all(
    folder: Path, trainings: Sequence[Sequence[str]], reads: Sequence[dict[str, Any]] = ()
) -> list[dict[str, Any]]:
    """What became of each; skips the test where there is no Spark."""
    pytest.importorskip("pyspark", reason="pyspark is not installed")
    java_home = asyncio.run(find_java_home(None))
    if java_home is None:
        pytest.skip("Java 17 is not installed")
    spec = {"conf": _CONF | {"spark.local.dir": str(folder)}, "trainings": trainings, "reads": reads}
    environment = {
        "JAVA_HOME": str(java_home),
        "PYSPARK_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        # As this process finds them: Spark's workers import the job too.
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }
    done = subprocess.run(
        [sys.executable, str(_SCRIPT), json.dumps(spec)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return told


def lists_in(output: Path) -> dict[str, list[str]]:
    """By customer, the contents that a run wrote."""
    rows = [
        json.loads(line)
        for part in sorted(output.glob("recommendations/part-*"))
        for line in part.read_text().splitlines()
    ]
    return {row["customer_id"]: [item["content_id"] for item in row["items"]] for row in rows}
