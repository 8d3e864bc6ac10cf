"""The table and the JSON. Pure but for reading what machine this is."""

import os
import platform
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.runner import Result
from benchmarks.targets import TARGETS

_MARKS = {True: "yes", False: "**no**", None: "-"}


def machine() -> dict[str, str]:
    """What the figures were measured on. A load above the number of cores says that it was not alone."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown",
    }


def markdown(results: Mapping[str, Result], on: Mapping[str, str]) -> str:
    """The whole report as Markdown: the machine, the table, what there is to say about each row."""
    lines = [
        f"Measured on {on['processor']}, {on['cores']} cores, {on['system']}, Python {on['python']}, "
        f"load at the start {on['load']}.",
        "",
        "| what | against | reach | measured | ok? |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, result in results.items():
        target = TARGETS[name]
        cells = (target.what, target.against, target.reach, result.measured, _MARKS[result.ok])
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    notes = [f"- {name}: {note}" for name, result in results.items() for note in result.notes]
    return "\n".join([*lines, *(["", *notes] if notes else [])]) + "\n"


def as_json(results: Mapping[str, Result], on: Mapping[str, str], *, quick: bool) -> dict[str, Any]:
    """The same for programs."""
    rows = {name: asdict(TARGETS[name]) | asdict(result) for name, result in results.items()}
    return {"machine": dict(on), "quick": quick, "rows": rows}


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
