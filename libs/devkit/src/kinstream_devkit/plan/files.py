"""Reads what a plan reckons with: assumptions, processors, prices. PermanentError names file and field."""

import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from kinstream.errors import PermanentError
from kinstream_devkit.plan.domain.assumptions import Assumptions
from kinstream_devkit.plan.domain.costs import NEEDED_PRICES

MEASURED_FILE = Path(__file__).with_name("measured.toml")


class PriceList(msgspec.Struct, frozen=True):
    """Prices with where and when they held."""

    region: str
    as_of: str
    prices: dict[str, float]


class _Described(msgspec.Struct, frozen=True):
    """What processors.json says that matters here."""

    handles: list[str] | None


def read_assumptions(own_file: Path | None = None, over: Mapping[str, Any] | None = None) -> Assumptions:
    """The measured ones; what `own_file` says goes before them, and `over` before both."""
    values = tomllib.loads(MEASURED_FILE.read_text())
    if own_file:
        values = _merged(values, _toml(own_file))
    try:
        return msgspec.convert(_merged(values, over or {}), Assumptions)
    except msgspec.ValidationError as error:
        raise PermanentError(f"{own_file or 'the assumptions'}: {error}") from error


def read_handles(file: Path) -> dict[str, Collection[str] | None]:
    """The types of each processor, None for all, from processors.json."""
    found = _json(file, dict[str, _Described])
    if not found:
        raise PermanentError(f"{file} has no processor")
    return {name: described.handles for name, described in found.items()}


def read_prices(file: Path) -> PriceList:
    """Prices, among them all that a plan needs."""
    found: PriceList = _json(file, PriceList)
    lacking = [name for name in NEEDED_PRICES if name not in found.prices]
    if lacking:
        raise PermanentError(f"{file} lacks prices: {', '.join(lacking)}")
    return found


def read_text(file: Path) -> str:
    """Of a file in UTF-8."""
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise PermanentError(
            f"there is no file {file}; run this in the repository's folder, or name another file"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise PermanentError(f"{file} cannot be read: {error}") from error


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file))
    except tomllib.TOMLDecodeError as error:
        raise PermanentError(f"{file} is no TOML: {error}") from error


def _json(file: Path, kind: Any) -> Any:
    try:
        return msgspec.convert(json.loads(read_text(file)), kind)
    except json.JSONDecodeError as error:
        raise PermanentError(f"{file} is no JSON: {error}") from error
    except msgspec.ValidationError as error:
        raise PermanentError(f"{file}: {error}") from error


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Tables are put together, all else is replaced. A mix is one value: its shares hang together."""
    merged = dict(below)
    for name, value in above.items():
        old = merged.get(name)
        together = isinstance(old, Mapping) and isinstance(value, Mapping) and name != "mix"
        merged[name] = _merged(old, value) if together and isinstance(old, Mapping) else value
    return merged
