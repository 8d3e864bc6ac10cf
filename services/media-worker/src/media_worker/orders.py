"""What a step's row in the catalog says is to be done, and the plan that such rows are made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kinstream.catalog import NewStep
from media_worker.domain.options import Options
from media_worker.domain.plan import queue_of
from media_worker.domain.recipes import RECIPES, Facts, Step
from media_worker.plain import from_plain, to_plain
from media_worker.rendition import Rendition


@dataclass(frozen=True, slots=True)
class PartOrder:
    """A part: the step, what was found out about the file, and which file that was."""

    facts: Facts
    step: Step
    version: str


def planned(renditions: Mapping[str, Rendition], facts: Facts, options: Options) -> list[Step]:
    """All that the file's recipe makes of it, what is essential first."""
    steps = [step for name in RECIPES[facts.kind] for step in renditions[name].plan(facts, options)]
    return sorted(steps, key=lambda step: not step.essential)


def parts(facts: Facts, steps: list[Step], bound_seconds: float, version: str) -> list[NewStep]:
    """A row a step."""
    return [
        NewStep(
            step.name,
            queue_of(step, bound_seconds),
            to_plain(PartOrder(facts, step, version)),
            step.cost_seconds,
            step.essential,
        )
        for step in steps
    ]


def part_order(order: Mapping[str, Any]) -> PartOrder:
    """Back from a row."""
    return from_plain(order, PartOrder)
