"""A plan as a picture: events, backlog, age, tasks and cost over the day, a column a day."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MultipleLocator

from kinstream.errors import PermanentError
from kinstream_devkit.plan.domain.curve import Floats
from kinstream_devkit.plan.domain.deployment import API
from kinstream_devkit.plan.run import Simulated

_WIDTH_INCHES, _ROW_INCHES = 12, 2.1
_DPI = 80
_ROWS = ("events a second", "messages waiting", "oldest message, s", "tasks", "dollars since midnight")
_CHARGES_SHOWN = 4


def draw(columns: Sequence[Simulated], file: Path) -> None:
    """Write a PNG. PermanentError where it cannot be written."""
    figure = Figure(figsize=(_WIDTH_INCHES, _ROW_INCHES * len(_ROWS)), layout="constrained")
    axes: Any = figure.subplots(len(_ROWS), len(columns), sharex=True, squeeze=False)
    for number, column in enumerate(columns):
        _draw(axes[:, number], column, labelled=number == 0)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=_DPI, format="png", metadata={"Software": None})
    except OSError as error:
        raise PermanentError(f"{file} cannot be written: {error.strerror}") from error


def _draw(axes: Sequence[Axes], column: Simulated, *, labelled: bool) -> None:
    day = column.day
    events, backlog, age, tasks, cost = axes
    hours = np.arange(1, len(day.offered) + 1) * day.step_seconds / 3_600
    events.set_title(column.name)
    events.plot(hours, day.offered, color="black", linewidth=1)
    for name, trace in day.traces.items():
        # Events that wait at senders are no messages: they are told by their age.
        if name != API:
            backlog.plot(hours, trace.backlog, label=name, linewidth=1)
        else:
            backlog.plot([], [], label=name, linewidth=1)
        age.plot(hours, trace.oldest_seconds(day.step_seconds), linewidth=1)
        tasks.plot(hours, trace.ordered, linewidth=1)
    _stack(cost, hours, column.dollars)
    for axis, label in zip(axes, _ROWS, strict=True):
        if labelled:
            axis.set_ylabel(label)
        axis.set_ylim(0, max(1.0, axis.get_ylim()[1]))
        axis.grid(visible=True, alpha=0.3)
        axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    backlog.legend(loc="upper left", fontsize="small")
    cost.legend(loc="upper left", fontsize="small")
    cost.set_xlim(0, hours[-1])
    cost.xaxis.set_major_locator(MultipleLocator(3))
    cost.xaxis.set_major_formatter(FuncFormatter(lambda hour, _: f"{hour:02.0f}:00"))


def _stack(axis: Axes, hours: Floats, dollars: Mapping[str, Floats]) -> None:
    """The largest charges by name, the others together."""
    by_size = sorted(dollars, key=lambda charge: -float(dollars[charge].sum()))
    shown = by_size[:_CHARGES_SHOWN]
    layers = {charge: np.cumsum(dollars[charge]) for charge in shown}
    if others := by_size[_CHARGES_SHOWN:]:
        layers["others"] = np.cumsum(np.sum([dollars[charge] for charge in others], axis=0))
    axis.stackplot(hours, list(layers.values()), labels=list(layers))
