"""What the catalog tells and is told, as plain values."""

from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """How far an item got."""

    DECLARED = "declared"
    UPLOADED = "uploaded"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NewItem:
    """What a client declares."""

    app: str
    media_id: str
    customer_id: str
    kind: str
    content_type: str
    declared_bytes: int


@dataclass(frozen=True, slots=True)
class Rendition:
    """A file made from an item; `object_key` lies in the bucket of derived files."""

    name: str
    kind: str
    object_key: str
    content_type: str
    size_bytes: int
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Item:
    """An item as it stood when it was read."""

    app: str
    media_id: str
    customer_id: str
    kind: str
    content_type: str
    state: State
    reason: str | None
    progress: int
    attempt: int
    created_at_ms: int
    lease_until_ms: int | None
    renditions: tuple[Rendition, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to process an item, as long as nobody claims it anew."""

    app: str
    media_id: str
    attempt: int
    kind: str
    content_type: str
