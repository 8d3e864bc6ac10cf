"""What the rows share: a scratch folder, rounds, a memory of what was measured, and the form of a result."""

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

Figures = Mapping[str, float]


class MissingError(Exception):
    """Something that a row needs is not here. The text says what, and how to get it."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a row came to. `ok` is None where it could not be measured."""

    measured: str
    ok: bool | None
    notes: Sequence[str] = ()
    figures: Figures = field(default_factory=dict)
    """Numbers for other rows and for the JSON, units in their names."""


@dataclass
class Bench:
    """One run of the benchmarks. A row is measured once, also where another row needs its figures."""

    quick: bool
    folder: Path
    """Scratch, removed at the end."""
    cache: Path
    """Peers that were fetched, kept for the next run."""
    rows: Mapping[str, Callable[["Bench"], Result]]
    say: Callable[[str], None] = lambda text: None
    results: dict[str, Result] = field(default_factory=dict)

    def measure(self, name: str) -> Result:
        """The result of a row."""
        if name not in self.results:
            try:
                self.results[name] = self.rows[name](self)
            except MissingError as missing:
                self.results[name] = Result("not measured", None, [str(missing)])
        return self.results[name]

    def figure(self, row: str, name: str) -> float:
        """One number of another row, measured now if it has not been."""
        result = self.measure(row)
        if name not in result.figures:
            raise MissingError(f"needs {name} of the row {row}: {' '.join(result.notes)}")
        return result.figures[name]

    def pick(self, quick: int, full: int) -> int:
        """A size for a quick run or a full one."""
        return quick if self.quick else full


@dataclass(slots=True)
class CpuClock:
    """CPU seconds of this process within a `with` block, collected in `seconds`."""

    seconds: float = 0.0


@contextmanager
def cpu_clock() -> Iterator[CpuClock]:
    """Measure this process, garbage of what came before collected first."""
    gc.collect()
    clock = CpuClock()
    began = time.process_time()
    yield clock
    clock.seconds = time.process_time() - began


def interleave(
    rounds: int, sides: Mapping[str, Callable[[int], float]], say: Callable[[str], None] | None = None
) -> dict[str, list[float]]:
    """Measure all sides in turn, round after round; each is given the number of its round."""
    readings: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds):
        for name, side in sides.items():
            if say:
                say(f"round {number + 1} of {rounds}: {name}")
            readings[name].append(side(number))
    return readings


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Of the medians."""
    return statistics.median(ours) / statistics.median(theirs)


def spread(ours: Sequence[float], theirs: Sequence[float]) -> str:
    """Least and greatest ratio of a round, for a reader to judge the noise by."""
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    return f"{min(ratios):.2f} to {max(ratios):.2f} over {len(ratios)} rounds"
