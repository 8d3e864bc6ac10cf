"""Dockerfiles: what every image that runs somewhere has, and has not."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.repository import ROOT

LABELS = ("title", "description", "licenses")


def stages() -> Iterator[tuple[str, list[str]]]:
    """(file and stage, its instructions) of each stage that something runs of, not only builds with."""
    for file in sorted(ROOT.glob("services/*/Dockerfile")):
        for name, instructions in of(file):
            if not name.startswith("build"):
                yield f"{file.parent.name} {name}".strip(), instructions


def of(file: Path) -> Iterator[tuple[str, list[str]]]:
    """(name or nothing, instructions) of each stage, lines that go on made one."""
    lines = re.sub(r"\\\n\s*", "", file.read_text()).splitlines()
    found: list[tuple[str, list[str]]] = []
    for line in (line for line in lines if line and not line.startswith("#")):
        if line.startswith("FROM "):
            found.append((line.partition(" AS ")[2], []))
        found[-1][1].append(line)
    yield from found


RUNNING = dict(stages())


@pytest.mark.parametrize("stage", RUNNING)
def test_an_image_says_what_it_is_how_it_is_and_runs_as_nobody_special(stage):
    text = "\n".join(RUNNING[stage])
    for label in LABELS:
        assert f"org.opencontainers.image.{label}=" in text
    assert "\nUSER 10001\n" in text
    assert "\nHEALTHCHECK " in text
    assert "\nVOLUME /tmp" in text


@pytest.mark.parametrize("stage", RUNNING)
def test_nothing_is_compiled_or_installed_by_pip_in_what_runs(stage):
    begun, *instructions = RUNNING[stage]
    assert begun.startswith("FROM python:3.11-slim-bookworm")
    ran = [line for line in instructions if line.startswith("RUN ")]
    assert not re.search(r"\bpip\b|\./install|gcc|g\+\+|build-essential|-dev\b", "\n".join(ran))


def test_every_service_has_an_image():
    services = {project.parent.name for project in ROOT.glob("services/*/pyproject.toml")}
    assert {name.split()[0] for name in RUNNING} == services
