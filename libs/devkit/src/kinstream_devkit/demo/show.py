"""Progress in the terminal: bars of what is under way, a line for each step that is done."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)


@dataclass(frozen=True, slots=True)
class Step:
    """Something under way."""

    progress: Progress
    task: int
    name: str

    def advance(self, count: int) -> None:
        """So many more are done."""
        self.progress.advance(self.task, count)  # type: ignore[arg-type]

    def reach(self, count: int) -> None:
        """So many are done in all."""
        self.progress.update(self.task, completed=count)  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        """What it is doing right now."""
        self.progress.update(self.task, description=f"{self.name}: {text}")  # type: ignore[arg-type]


class Show:
    """Use as a context manager around everything that reports progress."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self.timings: dict[str, float] = {}
        """Seconds of each step that is done, in the order of their ends."""

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._progress.console.print(text, soft_wrap=True, highlight=False)

    @contextmanager
    def step(self, name: str, total: int | None = None) -> Iterator[Step]:
        """Show a step while it lasts; leave a line with its time behind."""
        task = self._progress.add_task(name, total=total)
        started = time.monotonic()
        try:
            yield Step(self._progress, task, name)
        finally:
            self._progress.remove_task(task)
            self.timings[name] = time.monotonic() - started
        self.say(f"[green]✓[/green] {name} [dim]{self.timings[name]:.1f} s[/dim]")
