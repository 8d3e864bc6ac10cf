"""What the demo sends: a generated world, or files of the user's own."""

import gzip
import zlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from kinstream_devkit.demo.findings import DemoError
from kinstream_devkit.generate.world import Delivery, Workload

_ALLOWANCE = timedelta(days=2)
_GZIP_MAGIC = b"\x1f\x8b"


def read_events(paths: list[Path]) -> Workload:
    """Native events from files: NDJSON or one JSON array, gzip or not. DemoError names file and line."""
    return Workload([Delivery(event) for path in paths for event in _events_of(path)])


def _events_of(path: Path) -> Iterator[dict[str, Any]]:
    text = _bytes_of(path).strip()
    if not text:
        raise DemoError(f"{path} holds no events")
    if text.startswith(b"["):
        try:
            values = msgspec.json.decode(text)
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise DemoError(f"{path} is neither a JSON array nor NDJSON: {error}") from error
        yield from (_event(value, f"{path}, entry {number}") for number, value in enumerate(values, 1))
        return
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            yield _event(msgspec.json.decode(line), f"{path}, line {number}")
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise DemoError(f"{path}, line {number} is no JSON: {error}") from error


def _event(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DemoError(f"{where} is no event: an event is a JSON object")
    return value


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        return gzip.decompress(data) if data.startswith(_GZIP_MAGIC) else data
    except (OSError, EOFError, zlib.error) as error:
        raise DemoError(f"{path} cannot be read: {error}") from error


def retention_seconds(workload: Workload, now: datetime, default_seconds: int) -> int:
    """How far back events must count so that the oldest of these does."""
    oldest = now - timedelta(seconds=default_seconds)
    for delivery in workload.deliveries:
        try:
            moment = datetime.fromisoformat(delivery.event["occurred_at"]).astimezone(UTC)
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
        oldest = min(oldest, moment - _ALLOWANCE)
    return int((now - oldest).total_seconds())
