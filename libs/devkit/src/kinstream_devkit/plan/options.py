"""What the command line says over a file, as a file would say it. Pure; PermanentError names the option."""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from kinstream.errors import PermanentError
from kinstream_devkit.plan.domain.deployment import API, WORKER


def overrides(
    environment: str, tasks: Iterable[str], rates: Iterable[str], processors: Collection[str]
) -> dict[str, Any]:
    """Of --tasks SERVICE=MIN-MAX and --rate NAME=EVENTS."""
    scaling, by_processor, over = {}, {}, dict[str, Any]()
    for text in tasks:
        name, limits = _pair("--tasks", text, [API, WORKER, *processors], "SERVICE=MIN-MAX")
        scaling[f"{WORKER}-{name}" if name in processors else name] = _limits(text, limits)
    for text in rates:
        name, rate = _pair("--rate", text, [API, *processors], "NAME=EVENTS")
        rated = {"events_a_second": _number("--rate", text, rate)}
        if name == API:
            over["api"] = rated
        else:
            by_processor[name] = rated
    if scaling:
        over["environments"] = {environment: {"scaling": scaling}}
    if by_processor:
        over["processors"] = by_processor
    return over


def warm_units(texts: Iterable[str], tables: Collection[str]) -> Mapping[str, float]:
    """Write units a second by table, of --warm TABLE=UNITS."""
    pairs = {text: _pair("--warm", text, tables, "TABLE=UNITS") for text in texts}
    return {table: _number("--warm", text, units) for text, (table, units) in pairs.items()}


def _pair(option: str, text: str, names: Collection[str], form: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise PermanentError(f"{option} {text[:60]}: write {form}")
    if name not in names:
        raise PermanentError(f"{option} {text[:60]}: there is no {name[:40]!r}; there are {', '.join(names)}")
    return name, value


def _limits(text: str, limits: str) -> dict[str, int]:
    least, _, most = limits.partition("-")
    if not (least.isdecimal() and most.isdecimal() and 0 < int(most[:9]) >= int(least[:9])):
        raise PermanentError(f"--tasks {text[:60]}: write SERVICE=MIN-MAX, with whole numbers, like 2-60")
    return {"min_tasks": int(least[:9]), "max_tasks": int(most[:9])}


def _number(option: str, text: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if not 0 < number < math.inf:
        raise PermanentError(f"{option} {text[:60]}: {value[:40]!r} is no number above 0")
    return number
