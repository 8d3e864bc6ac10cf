"""A copy of the repository to write into, and its code to run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
_NEEDED = ("libs", "services", "tests", "infra", "pyproject.toml")
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "node_modules", ".*", "*.egg-info")


def repository_copy(folder: Path) -> Path:
    """The parts of the repository that a developer of processors touches or runs, under `folder`."""
    folder.mkdir(parents=True)
    for name in _NEEDED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=_LEFT_OUT)
        else:
            shutil.copy(ROOT / name, folder / name)
    return folder


def environment_in(copy: Path) -> dict[str, str]:
    """Variables by which this environment's programs run the copy's code."""
    sources = [*copy.glob("libs/*/src"), *copy.glob("services/*/src")]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return os.environ | {"PYTHONPATH": os.pathsep.join(map(str, sources)), "PATH": path}


def run_in(
    copy: Path, *command: str | Path, variables: Mapping[str, str] | None = None, seconds: float = 600
) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment in the copy, to its end."""
    return subprocess.run(
        command,
        cwd=copy,
        env=environment_in(copy) | dict(variables or {}),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
