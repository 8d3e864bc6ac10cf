"""Row `recommendations`: the training job on MovieLens-100k, split by time, against its peers.

Every rating is one view. The job sees what came up to the split and writes lists, as for any app; they are
judged here on what came after it, by the same function as the peers: NDCG@10 over customers known before
with something new afterwards, everything ranked, what was seen left out.
"""

import importlib.util
import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.movielens import (
    SPLIT_SECONDS,
    TOP,
    Lists,
    View,
    ndcg,
    ranked_for_all,
    read_views,
    wanted_after,
)
from benchmarks.peers import installed_packages, unpacked_wheel
from benchmarks.runner import Bench, MissingError, Result
from recommender_trigger.launchers.local import last_error

TREND_HALF_LIFE_DAYS = 7.0
_DATA = "recbole==1.2.1"
_JOB_SECONDS = 600
_PEER_SECONDS = 300
_PEER = Path(__file__).with_name("implicit_peer.py")


def measure(bench: Bench, name: str) -> Result:
    """The row."""
    views = read_views(
        unpacked_wheel(bench, _DATA, f"let pip reach an index for {_DATA} (MovieLens-100k is in it)")
    )
    known = [view for view in views if view.at_seconds <= SPLIT_SECONDS]
    wanted = wanted_after(views)
    bench.say("training on Spark")
    lists, manifest = _train(bench.folder, known)
    popular = ndcg(ranked_for_all(known, math.inf), wanted)
    recent = ranked_for_all(known, TREND_HALF_LIFE_DAYS)
    trending = ndcg(recent, wanted)
    published = manifest["gate"]["publish"]
    # Where the job publishes nothing, customers are served what is trending.
    served = lists if published else recent
    ours = ndcg(served, wanted)
    bench.say("the peer `implicit`")
    als = _implicit(bench, known, wanted)
    metrics = manifest["metrics"]
    refused = "" if published else "; the job's gate published nothing, so trending is served"
    shown = {item for items in served.values() for item in items[:TOP]}
    coverage = len(shown) / len({view.item for view in known})
    return Result(
        f"{ours:.3f} against {trending:.3f} (recency-weighted) and {als['ndcg']:.3f} (`implicit`){refused}",
        ours > trending and ours > als["ndcg"],
        [
            f"MovieLens-100k, {len(known):,} views before the split, {len(wanted)} customers to judge by; "
            f"plain popularity {popular:.3f}; recency-weighted with a half-life of "
            f"{TREND_HALF_LIFE_DAYS:.0f} days; catalogue coverage {coverage:.1%}; the job took "
            f"{manifest['seconds']:.0f} s",
            f"inside the job, on its own newest slice of what it sees: {metrics['ndcg']:.3f} with the beta "
            f"{metrics['beta']} that it chose, ALS alone {metrics['ndcg_als_alone']:.3f}, trending "
            f"{metrics['ndcg_trending']:.3f}, {metrics['warm_users']} customers",
            f"`implicit` ALS with the best of {als['tried']:.0f} settings, chosen on the test itself "
            f"in its favour: {als['settings']}",
        ],
        {
            "ndcg": ours,
            "ndcg_popularity": popular,
            "ndcg_trending": trending,
            "ndcg_implicit": float(als["ndcg"]),
            "ndcg_inside_the_job": metrics["ndcg"],
            "ndcg_trending_inside_the_job": metrics["ndcg_trending"],
            "beta": metrics["beta"],
            "coverage": coverage,
            "job_seconds": float(manifest["seconds"]),
        },
    )


def _train(folder: Path, known: Sequence[View]) -> tuple[Lists, dict[str, Any]]:
    archive, output = folder / "archive", folder / "training"
    archive.mkdir()
    columns = {
        "id": [f"v{number}" for number in range(len(known))],
        "type": ["content.viewed"] * len(known),
        "customer_id": [view.user for view in known],
        "device_id": ["browser"] * len(known),
        "occurred_at_ms": [view.at_seconds * 1000 for view in known],
        "counted": [True] * len(known),
        "content_id": [view.item for view in known],
    }
    pq.write_table(pa.table(columns), archive / "views.parquet")
    submit = Path(sys.executable).with_name("spark-submit")
    command = [
        str(submit), "--master", "local[2]", "--conf", "spark.ui.enabled=false",
        "--conf", "spark.sql.shuffle.partitions=4", "--conf", "spark.driver.host=127.0.0.1",
        "--conf", "spark.driver.bindAddress=127.0.0.1", "--conf", "spark.driver.extraJavaOptions=-Xss16m",
        str(job_path()), "--archive", archive.as_uri(), "--output", output.as_uri(), "--run-id", "bench",
        "--as-of-ms", str((SPLIT_SECONDS + 1) * 1000),
    ]  # fmt: skip
    if not submit.exists():
        raise MissingError("needs pyspark: pip install 'kinstream-recommender-trigger[local]'")
    environment = os.environ | {"PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=_JOB_SECONDS, check=False
    )
    if done.returncode:
        raise MissingError(
            "the training job did not run (it needs Java 17: apt install openjdk-17-jre-headless): "
            + last_error(done.stderr)
        )
    lists = {}
    for part in (output / "recommendations").glob("part-*"):
        for line in part.read_text().splitlines():
            row = json.loads(line)
            lists[row["customer_id"]] = [item["content_id"] for item in row["items"]]
    return lists, json.loads((output / "manifest.json").read_text())


def job_path() -> Path:
    """The training job's file, found without importing Spark."""
    spec = importlib.util.find_spec("recommender_trigger.job.train")
    assert spec
    assert spec.origin
    return Path(spec.origin)


def _implicit(bench: Bench, known: Sequence[View], wanted: Mapping[str, set[str]]) -> dict[str, Any]:
    packages = installed_packages(bench, "implicit", "implicit==0.7.3")
    data = bench.folder / "implicit.json"
    data.write_text(
        json.dumps(
            {
                "now": SPLIT_SECONDS,
                "known": known,
                "wanted": {user: sorted(items) for user, items in wanted.items()},
            }
        )
    )
    environment = os.environ | {"PYTHONPATH": str(packages), "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(_PEER), str(data)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_PEER_SECONDS,
        check=False,
    )
    if done.returncode:
        raise MissingError(f"`implicit` did not run: {done.stderr.strip().splitlines()[-1]}")
    # It names its lists; they are judged here, as ours are.
    tried = [(ndcg(one["lists"], wanted), one["settings"]) for one in json.loads(done.stdout)]
    best, settings = max(tried)
    return {"ndcg": best, "settings": settings, "tried": len(tried)}
