"""Bodies for the collectors: native events of about 500 bytes, seeded, the same for every side."""

import json
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from kinstream.events import format_time_ms

BODIES = 64
"""Different bodies of one size."""
ID_PLACE = b"#" * 32
"""Stands for an id that the load fills in when it sends."""


def write_bodies(file: Path, sizes: Iterable[int], *, own_ids: bool = True) -> Path:
    """A file with a body a line, BODIES of each size. Without `own_ids` the load gives each event its id."""
    draw = random.Random(11)
    file.write_bytes(b"\n".join(body for size in sizes for body in _bodies(draw, size, own_ids)))
    return file


def filled(body: list[bytes], first: int) -> bytes:
    """A body that was split at ID_PLACE, its events numbered from `first` on."""
    parts = [body[0]]
    for number, rest in enumerate(body[1:], first):
        parts += (b"%032x" % number, rest)
    return b"".join(parts)


def _bodies(draw: random.Random, size: int, own_ids: bool) -> Iterator[bytes]:
    now_ms = time.time_ns() // 1_000_000
    for _ in range(BODIES):
        events = [_event(draw, now_ms) for _ in range(size)]
        if not own_ids:
            events = [event | {"id": ID_PLACE.decode()} for event in events]
        yield json.dumps(events if size > 1 else events[0], separators=(",", ":")).encode()


def _event(draw: random.Random, now_ms: int) -> dict[str, Any]:
    number = draw.randrange(10_000)
    return {
        "id": f"{draw.getrandbits(128):032x}",
        "type": draw.choice(("content.viewed", "content.liked", "screen.viewed")),
        "customer_id": f"fam-{number}",
        "device_id": f"ipad-{number}",
        "person_id": f"kid-{number}",
        "occurred_at": format_time_ms(now_ms - draw.randrange(60_000)),
        "data": {
            "content_id": f"story-{draw.randrange(1_000)}",
            "activity": "reading",
            "note": "".join(draw.choices("abcdefghij klmnopqrst", k=190)),
            "session": {"scroll": draw.random(), "screen": "library", "locale": "de-DE"},
        },
    }
