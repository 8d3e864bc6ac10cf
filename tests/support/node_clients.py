"""Clients from npm, installed as their users install them, and programs that use them."""

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, NoReturn

import pytest

PROGRAMS = Path(__file__).parent.parent / "integration" / "clients"
REQUIRED = "KINSTREAM_TESTS_REQUIRE_CLIENTS"
"""Set where a missing node, npm, browser or network is to fail the tests that need it, not skip them."""

_INSTALL_SECONDS = 300
_RUN_SECONDS = 300


def missing(why: str) -> NoReturn:
    """Skip the test, or fail it where its clients are required."""
    if os.environ.get(REQUIRED):
        pytest.fail(f"{why}, and {REQUIRED} is set")
    pytest.skip(why)


def installed_clients() -> Path:
    """The folder that holds `node_modules` of the pinned versions, kept from run to run."""
    for program in ("node", "npm"):
        if not shutil.which(program):
            missing(f"{program} is not installed")
    description = (PROGRAMS / "package.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kinstream-tests"
    folder = cache / f"node-{sha256(description).hexdigest()[:16]}"
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        _install(description, cache, folder)
    return folder


def _install(description: bytes, cache: Path, folder: Path) -> None:
    # Made beside its place and moved there whole: two test processes may install at once.
    with tempfile.TemporaryDirectory(prefix="installing-", dir=cache) as scratch:
        made = Path(scratch) / "made"
        made.mkdir()
        (made / "package.json").write_bytes(description)
        flags = ["--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts", "--loglevel=error"]
        try:
            done = subprocess.run(
                ["npm", "install", *flags],
                cwd=made,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            missing(f"npm has not installed the clients within {_INSTALL_SECONDS} s")
        if done.returncode:
            missing(f"npm cannot install the clients: {done.stderr[-500:]}")
        try:
            made.rename(folder)
        except OSError:
            assert folder.exists(), f"{folder} cannot be made"


def run_client(program: str, modules: Path, **said: Any) -> Mapping[str, Any]:
    """What a program of `PROGRAMS` prints, once it has ended by itself; `said` is its standard input."""
    done = subprocess.run(
        ["node", PROGRAMS / program],
        input=json.dumps({"modules": str(modules)} | said),
        env=os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"},
        capture_output=True,
        text=True,
        timeout=_RUN_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))
