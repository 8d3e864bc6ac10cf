"""GitHub's workflows as GitHub would run them, as far as their own lines go: expressions, `run` steps.

Programs that would reach AWS or an engine are stand-ins: they write down how they were called, and answer
what a test wants them to.
"""

import os
import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from tests.support.repository import ROOT

FOLDER = ROOT / ".github" / "workflows"
_PROGRAMS = ("aws", "docker", "terraform")
_SECONDS = 60
_STAND_IN = """#!/usr/bin/env bash
called="${0##*/} $*"
printf '%s\\n' "$called" >>"$STAND_IN_CALLS"
while IFS=$'\\t' read -r pattern code text; do
  # shellcheck disable=SC2053
  [[ $called == $pattern ]] || continue
  [ -z "$text" ] || printf '%b\\n' "$text"
  exit "$code"
done <"$STAND_IN_ANSWERS"
"""

Known = Mapping[str, str]
Answers = Mapping[str, tuple[int, str]]
"""By a pattern of what is called: exit code, and what is printed. The first that fits; else 0 and nothing."""


def workflow(name: str) -> dict[str, Any]:
    """A workflow as GitHub reads it."""
    told: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return told


def names() -> list[str]:
    """All workflows."""
    return sorted(file.name for file in FOLDER.glob("*.yml"))


def runs(name: str) -> Iterator[str]:
    """Each shell script of a workflow; the expressions in it are a word."""
    for job in workflow(name)["jobs"].values():
        for step in job.get("steps", []):
            if "run" in step:
                yield re.sub(r"\${{.*?}}", "word", step["run"])


def evaluated(expression: str, known: Known) -> str | bool:
    """What an expression comes to; what nobody has said is empty."""
    if "||" in expression:
        return next((found for part in expression.split("||") if (found := evaluated(part, known))), "")
    if "&&" in expression:
        return all(evaluated(part, known) for part in expression.split("&&"))
    for sign in ("==", "!="):
        if sign in expression:
            left, right = (evaluated(part, known) for part in expression.split(sign))
            return (left == right) is (sign == "==")
    expression = expression.strip()
    return expression.strip("'") if expression.startswith("'") else known.get(expression, "")


def filled(text: str, known: Known) -> str:
    """With each expression in the text replaced by what it comes to."""
    return re.sub(r"\${{(.*?)}}", lambda found: str(evaluated(found[1], known)), text)


class Job:
    """One job's `run` steps, in order and up to the first that fails, before stand-ins in a folder."""

    def __init__(self, folder: Path, name: str, job: str, known: Known) -> None:
        told = workflow(name)
        self._steps = told["jobs"][job]["steps"]
        self._environment = self._filled(told.get("env", {}), known)
        self._known = {**known, **{f"env.{key}": value for key, value in self._environment.items()}}
        own = self._filled(told["jobs"][job].get("env", {}), self._known)
        self._environment |= own
        self._known |= {f"env.{key}": value for key, value in own.items()}
        self._folder = folder
        programs = folder / "bin"
        programs.mkdir()
        for program in _PROGRAMS:
            (programs / program).write_text(_STAND_IN)
            (programs / program).chmod(0o755)

    def run(self, answers: Answers) -> tuple[bool, list[str]]:
        """Whether all steps have done it, and what they called."""
        calls, told = self._folder / "calls", self._folder / "answers"
        calls.write_text("")
        told.write_text("".join(f"{pattern}\t{code}\t{text}\n" for pattern, (code, text) in answers.items()))
        environment = {
            "PATH": f"{self._folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "STAND_IN_CALLS": str(calls),
            "STAND_IN_ANSWERS": str(told),
            **self._environment,
        }
        done = all(self._run(step, environment) for step in self._steps if "run" in step)
        return done, calls.read_text().splitlines()

    def _run(self, step: Mapping[str, Any], environment: Mapping[str, str]) -> bool:
        script = self._folder / "script"
        script.write_text(filled(step["run"], self._known))
        # As GitHub does where a step names no shell.
        done = subprocess.run(
            ["bash", "-e", script],
            cwd=ROOT / filled(step.get("working-directory", "."), self._known),
            env={**environment, **self._filled(step.get("env", {}), self._known)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_SECONDS,
            check=False,
        )
        return done.returncode == 0

    @staticmethod
    def _filled(environment: Mapping[str, Any], known: Known) -> dict[str, str]:
        return {name: filled(str(value), known) for name, value in environment.items()}


def option(call: str, name: str) -> str:
    """What follows an option in a call."""
    words = shlex.split(call)
    return words[words.index(name) + 1]
