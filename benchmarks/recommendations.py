"""Rows about how good recommendations are, on MovieLens-100k: the training job against its peers.

Every rating is one view. The job sees what came up to the split and writes lists, as for any app; they are
judged here on what came after it, by the same function as the peers: NDCG@10 over customers known before
with something new afterwards, everything ranked, what was seen left out.

- `recommendations`: the job as it is, split by time.
- `als-alone`: the job's ALS without trend and rules, same split.
- `coverage`: how much of the catalogue the rules for lists show, and what they cost.
- `leave-last-out`: ALS on all but everybody's last view, which it is to find. No split by time: what others
  did later is known, so neither the trend nor an event's age means anything, and both are off.
"""

import json
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.movielens import (
    SPLIT_SECONDS,
    Lists,
    View,
    coverage,
    ndcg,
    ranked_for_all,
    read_views,
    wanted_after,
    without_last,
)
from benchmarks.peers import installed_packages, unpacked_wheel
from benchmarks.runner import Bench, MissingError, Result
from benchmarks.spark import columns_of, submit, write_archive

TREND_HALF_LIFE_DAYS = 7.0
LEAST_NDCG, LEAST_OVER_POPULARITY = 0.230, 1.5
LEAST_ALS, LEAST_LAST_OUT = 0.17, 0.065
LEAST_COVERAGE, MOST_LOSS = 0.15, 0.05
_DATA = "recbole==1.2.1"
_PEER_SECONDS = 300
_PEER = Path(__file__).with_name("implicit_peer.py")
_RANKINGS = Path(__file__).with_name("spark_rankings.py")
_FIRST = "recommendations"
_LIST = 30
_SEEDS = (1, 2, 3)


def measure(bench: Bench, name: str) -> Result:
    """One of the rows; the first that is asked for trains for all of them."""
    if name == _FIRST:
        return _measure_all(bench)
    return _ROWS[name](lambda figure: bench.figure(_FIRST, figure))


def _measure_all(bench: Bench) -> Result:
    views = read_views(
        unpacked_wheel(bench, _DATA, f"let pip reach an index for {_DATA} (MovieLens-100k is in it)")
    )
    known = [view for view in views if view.at_seconds <= SPLIT_SECONDS]
    wanted = wanted_after(views)
    (hard, last), (in_order, last_in_order) = (without_last(views, hard=hard) for hard in (True, False))
    bench.say("training on Spark")
    found, manifest = _train(bench.folder, known, hard, in_order)
    bench.say("the peer `implicit`")
    peer = _implicit(bench, known, wanted)
    by_time, recent = found["by_time"], ranked_for_all(known, TREND_HALF_LIFE_DAYS)
    # Where the job publishes nothing, customers are served what is trending.
    published = manifest["gate"]["publish"]
    served = by_time["served"] if published else recent
    of_seeds = [ndcg(found[f"seed {seed}"]["als"], last) for seed in _SEEDS]
    figures = {
        "ndcg": ndcg(served, wanted),
        "ndcg_blend": ndcg(by_time["blend"], wanted),
        "ndcg_als_alone": ndcg(by_time["als"], wanted),
        "ndcg_popularity": ndcg(ranked_for_all(known, math.inf), wanted),
        "ndcg_trending": ndcg(recent, wanted),
        "ndcg_implicit": float(peer["ndcg"]),
        "ndcg_last_out": statistics.mean(of_seeds),
        "ndcg_last_out_least": min(of_seeds),
        "ndcg_last_out_most": max(of_seeds),
        "ndcg_last_out_popularity": ndcg(ranked_for_all(hard, math.inf), last),
        "ndcg_last_in_order": ndcg(found["in order"]["als"], last_in_order),
        "ndcg_last_in_order_popularity": ndcg(ranked_for_all(in_order, math.inf), last_in_order),
        "ndcg_inside_the_job": manifest["metrics"]["ndcg"],
        "ndcg_trending_inside_the_job": manifest["metrics"]["ndcg_trending"],
        "beta": manifest["metrics"]["beta"],
        "coverage": coverage(served.values(), known),
        "coverage_blend": coverage(by_time["blend"].values(), known),
        "coverage_judged": coverage([served[user] for user in wanted if user in served], known),
        "job_seconds": float(manifest["seconds"]),
    }
    return _quality(figures, manifest, peer, len(known), len(wanted))


def _quality(
    figures: dict[str, float],
    manifest: Mapping[str, Any],
    peer: Mapping[str, Any],
    views: int,
    customers: int,
) -> Result:
    ours, metrics = figures["ndcg"], manifest["metrics"]
    refused = "" if manifest["gate"]["publish"] else "; the gate published nothing, so trending is served"
    over = ours / figures["ndcg_popularity"]
    return Result(
        f"{ours:.3f} against {figures['ndcg_trending']:.3f} (trending), {figures['ndcg_popularity']:.3f} "
        f"(popularity, {over:.2f}x) and {figures['ndcg_implicit']:.3f} (`implicit`){refused}",
        ours >= LEAST_NDCG
        and over >= LEAST_OVER_POPULARITY
        and ours > max(figures["ndcg_trending"], figures["ndcg_implicit"]),
        [
            f"MovieLens-100k, {views:,} views before the split, {customers} customers to judge by; without "
            f"the rules for lists {figures['ndcg_blend']:.3f}; trending with a half-life of "
            f"{TREND_HALF_LIFE_DAYS:.0f} days; the job took {manifest['seconds']:.0f} s",
            f"inside the job, on its own newest slice of what it sees: {metrics['ndcg']:.3f} with the beta "
            f"{metrics['beta']} that it chose, ALS alone {metrics['ndcg_als_alone']:.3f}, trending "
            f"{metrics['ndcg_trending']:.3f}, {metrics['warm_users']} customers",
            f"`implicit` ALS with the best of {peer['tried']:.0f} settings, chosen on the test itself "
            f"in its favour: {peer['settings']}",
        ],
        figures,
    )


def _als_alone(figure: Callable[[str], float]) -> Result:
    als = figure("ndcg_als_alone")
    return Result(f"{als:.3f} against {figure('ndcg_implicit'):.3f}", als >= LEAST_ALS, [], {"ndcg": als})


def _coverage(figure: Callable[[str], float]) -> Result:
    shown, before = figure("coverage"), figure("coverage_blend")
    loss = 1 - figure("ndcg") / figure("ndcg_blend")
    return Result(
        f"{shown:.1%} of the contents in somebody's first ten, {before:.1%} without the rules; "
        f"NDCG loses {loss:.1%}",
        shown >= LEAST_COVERAGE and loss <= MOST_LOSS,
        [
            f"over the lists of all customers; over those of the customers to judge by alone "
            f"{figure('coverage_judged'):.1%}"
        ],
        {"coverage": shown, "loss": loss},
    )


def _leave_last_out(figure: Callable[[str], float]) -> Result:
    ours = figure("ndcg_last_out")
    return Result(
        f"{ours:.3f} against {figure('ndcg_last_out_popularity'):.3f}",
        ours >= LEAST_LAST_OUT,
        [
            "no split by time, so the trend and the age of events are left out; the weight by place from a "
            "customer's end stays",
            f"mean of {len(_SEEDS)} seeds, {figure('ndcg_last_out_least'):.3f} to "
            f"{figure('ndcg_last_out_most'):.3f}; of views of the same second the one of the rarest content "
            f"is the last, which is the hardest to find; with the last one in the data "
            f"{figure('ndcg_last_in_order'):.3f}, popularity {figure('ndcg_last_in_order_popularity'):.3f}",
        ],
        {"ndcg": ours},
    )


_ROWS: dict[str, Callable[[Callable[[str], float]], Result]] = {
    "als-alone": _als_alone,
    "coverage": _coverage,
    "leave-last-out": _leave_last_out,
}


def _train(
    folder: Path, known: Sequence[View], hard: Sequence[View], in_order: Sequence[View]
) -> tuple[dict[str, dict[str, Lists]], dict[str, Any]]:
    write_archive(folder / "by-time", columns_of(known))
    write_archive(folder / "hard", columns_of(hard))
    write_archive(folder / "in-order", columns_of(in_order))
    hard_uri, in_order_uri = (folder / "hard").as_uri(), (folder / "in-order").as_uri()
    output, lists = folder / "training", folder / "lists.json"
    spec = folder / "rankings.json"
    spec.write_text(
        json.dumps(
            {
                "by_time": (folder / "by-time").as_uri(),
                "last_out": [
                    *((f"seed {seed}", hard_uri, seed) for seed in _SEEDS),
                    ("in order", in_order_uri, 1),
                ],
                "output": output.as_uri(),
                "lists": str(lists),
                "split_ms": (SPLIT_SECONDS + 1) * 1000,
                "end_ms": (max(view.at_seconds for view in hard) + 1) * 1000,
                "most": _LIST,
            }
        )
    )
    submit(folder, _RANKINGS, [str(spec)])
    return json.loads(lists.read_text()), json.loads((output / "manifest.json").read_text())


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
