"""What happens inside the sandbox: look into a file, and make renditions of it."""

from dataclasses import dataclass
from pathlib import Path

from media_worker.codecs import images, video
from media_worker.domain import policy
from media_worker.domain.options import Options
from media_worker.domain.policy import Limits
from media_worker.domain.recipes import Facts, Made, Step
from media_worker.rendition import Report, Work, discover


@dataclass(frozen=True, slots=True)
class Order:
    """Steps to carry out in one go, with what they need to know."""

    facts: Facts | None
    """None for a variant: it is of a picture, and what that is turns out when it is made."""
    steps: list[Step]
    limits: Limits
    options: Options


def inspect(source: Path, declared_kind: str, limits: Limits) -> Facts:
    """What the file is; PermanentError where it is not taken, with a reason for people."""
    with source.open("rb") as file:
        found = policy.recognize(file.read(policy.HEAD_BYTES))
    known = policy.check_format(found, declared_kind)
    size_bytes = source.stat().st_size
    if known.family == "image":
        return Facts(known, size_bytes, photo=images.look(source, known.name, limits))
    return Facts(known, size_bytes, recording=video.probe(source, known.name, limits))


def make(source: Path, folder: Path, order: Order, report: Report) -> list[Made]:
    """Carry out the order's steps one after another; their files lie in `folder`."""
    renditions = discover()
    facts = order.facts or inspect(source, "image", order.limits)
    all_seconds = sum(step.cost_seconds for step in order.steps)
    done_seconds = 0.0
    made: list[Made] = []
    for step in order.steps:

        def share(fraction: float, before: float = done_seconds, mine: float = step.cost_seconds) -> None:
            report((before + mine * fraction) / all_seconds)

        work = Work(source, facts, folder, order.limits, order.options, share)
        made += renditions[step.rendition].make(step, work)
        done_seconds += step.cost_seconds
        report(done_seconds / all_seconds)
    return made
