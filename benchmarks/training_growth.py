"""Row `training-growth`: what a training takes at 100 thousand, 1 and 5 million events.

Made-up families with tastes: a hundred events each, five thousand contents, ninety days. Two cores, 3 GB.
"""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.runner import Bench, Result
from benchmarks.spark import Took, job_path, submit, write_archive

SIZES = (100_000, 1_000_000, 5_000_000)
_EVENTS_A_CUSTOMER = 100
_CONTENTS = 5_000
_TASTES = 20
_OWN_TASTE = 0.8
_DAYS_MS = 90 * 86_400_000
_NOW_MS = 1_780_000_000_000


def measure(bench: Bench, name: str) -> Result:
    """The row."""
    took: dict[int, Took] = {}
    notes = []
    for size in SIZES[: bench.pick(2, len(SIZES))]:
        bench.say(f"{size:,} events")
        took[size], manifest = train(bench.folder / f"growth-{size}", size)
        notes.append(
            f"{size:,} events of {size // _EVENTS_A_CUSTOMER:,} customers: {took[size].seconds:.0f} s wall, "
            f"{took[size].cpu_seconds:.0f} s CPU; {manifest['recommendations']['customers']:,} lists, "
            f"{manifest['gate']['reason']}"
        )
    sizes = list(took)
    steps = [
        max(took[more].seconds / took[less].seconds, took[more].cpu_seconds / took[less].cpu_seconds)
        / (more / less)
        for less, more in pairwise(sizes)
    ]
    shown = ", ".join(f"{took[size].seconds:.0f} s ({took[size].cpu_seconds:.0f} s CPU)" for size in sizes)
    return Result(
        shown,
        max(steps) <= 1,
        [*notes, "each step against linear: " + ", ".join(f"{step:.2f}x" for step in steps)],
        {f"seconds_{size}": took[size].seconds for size in sizes}
        | {f"cpu_seconds_{size}": took[size].cpu_seconds for size in sizes},
    )


def train(folder: Path, size: int) -> tuple[Took, dict[str, Any]]:
    """The job on so many events; (what it took, its manifest)."""
    folder.mkdir()
    write_archive(folder / "archive", families(size))
    output = folder / "output"
    took = submit(
        folder,
        job_path(),
        [
            *("--archive", (folder / "archive").as_uri(), "--output", output.as_uri()),
            *("--run-id", "bench", "--as-of-ms", str(_NOW_MS)),
        ],
        memory="3g",
    )
    return took, json.loads((output / "manifest.json").read_text())


def families(size: int) -> dict[str, Any]:
    """Columns of so many views: most keep to a taste, popularity is a power law."""
    rng = np.random.default_rng(7)
    customers = size // _EVENTS_A_CUSTOMER
    customer = rng.permutation(np.repeat(np.arange(customers), _EVENTS_A_CUSTOMER))
    within = _CONTENTS // _TASTES
    popular = 1 / np.arange(1, within + 1) ** 0.7
    place = rng.choice(within, size, p=popular / popular.sum())
    taste = np.where(rng.random(size) < _OWN_TASTE, customer % _TASTES, rng.integers(0, _TASTES, size))
    return {
        "customer_id": [f"fam-{number:07d}" for number in customer],
        "content_id": [f"story-{number:05d}" for number in place * _TASTES + taste],
        "occurred_at_ms": np.sort(_NOW_MS - 1 - rng.integers(0, _DAYS_MS, size)),
    }
