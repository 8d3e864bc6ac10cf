"""Media in words: what a person is told of an item and its renditions."""

from collections.abc import Mapping
from typing import Any


def size_text(size_bytes: int) -> str:
    """A size for people."""
    return f"{size_bytes / 1e6:,.1f} MB" if size_bytes >= 1e6 else f"{size_bytes / 1e3:,.1f} kB"


def dimensions_text(width: int | None, height: int | None) -> str:
    """Width and height; empty for what has none."""
    return f"{width} x {height}" if width else ""


def duration_text(seconds: float | None) -> str:
    """How long it lasts; empty for what does not."""
    return f"{seconds:.1f} s" if seconds else ""


def source_text(source: Mapping[str, Any]) -> str:
    """What an upload was found to be, as the API tells it."""
    parts = (
        source["format"],
        " ".join(source["codecs"]),
        dimensions_text(source["width"], source["height"]),
        duration_text(source["duration_seconds"]),
        size_text(source["bytes"]) if source["bytes"] else "",
    )
    return ", ".join(filter(None, parts))


def state_of(item: Mapping[str, Any]) -> str:
    """An item's state, with how far it is or why it failed."""
    if item["state"] == "failed":
        return f"failed: {item['reason'] or 'for no reason that is told'}"
    return str(item["state"]) if item["state"] == "ready" else f"{item['state']}, {item['progress']} %"


def made_of(item: Mapping[str, Any]) -> str:
    """What was made of a file, on one line."""
    return ", ".join(
        " ".join(
            filter(
                None,
                (
                    made["name"],
                    dimensions_text(made["width"], made["height"]),
                    duration_text(made["duration_seconds"]),
                ),
            )
        )
        for made in item["renditions"]
    )
