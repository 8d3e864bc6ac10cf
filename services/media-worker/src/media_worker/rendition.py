"""What a rendition is, and how they are found."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

from media_worker.domain.options import Options
from media_worker.domain.policy import Limits
from media_worker.domain.recipes import Facts, Made, Step

Report = Callable[[float], None]
"""Hears the fraction of a step that is done, from 0 to 1, now and then."""


@dataclass
class Work:
    """What a rendition is given to make something of, inside the sandbox: no network, no catalog."""

    source: Path
    facts: Facts
    folder: Path
    """Where the files that it makes belong."""
    limits: Limits
    options: Options
    report: Report


class Rendition:
    """One thing that is made of files. A subclass is one file in `renditions/`, with one instance of it.

    Guarantee on replay: the same file and options give the same names, so that a second try finds and
    removes what the first one left.
    """

    name: str

    def plan(self, facts: Facts, options: Options) -> list[Step]:
        """The steps that make it of this file; none where it has no use for it. Pure."""
        raise NotImplementedError

    def make(self, step: Step, work: Work) -> list[Made]:
        """Carry out one step. PermanentError, in words for people, where that is impossible."""
        raise NotImplementedError

    def assemble(self, made: Sequence[Made]) -> list[tuple[Made, bytes]]:
        """Small files that need to know all that was made, such as a playlist of playlists. Pure."""
        return []


def discover() -> dict[str, Rendition]:
    """Every rendition by its name. Two of one name are an error."""
    from media_worker import renditions

    found: dict[str, Rendition] = {}
    for module in iter_modules(renditions.__path__):
        if module.name.startswith("_"):
            continue
        rendition = import_module(f"{renditions.__name__}.{module.name}").RENDITION
        if rendition.name in found:
            raise ValueError(f"two renditions are called {rendition.name}")
        found[rendition.name] = rendition
    return found
