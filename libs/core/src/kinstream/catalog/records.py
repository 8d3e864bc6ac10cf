"""What the catalog tells and is told, as plain values."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class State(StrEnum):
    """How far an item got."""

    DECLARED = "declared"
    UPLOADED = "uploaded"
    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"


class StepState(StrEnum):
    """How far a step got."""

    WAITING = "waiting"
    PROCESSING = "processing"
    DONE = "done"
    FAILED = "failed"


class Role(StrEnum):
    """What a step is to its item."""

    MAIN = "main"
    """Looks into the file and plans; makes everything at once where that is little."""
    PART = "part"
    """One of several that a large file was planned into."""
    FINALIZE = "finalize"
    """Comes when every part is done."""
    VARIANT = "variant"
    """Made of an item that is ready, because somebody asked for it."""


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
    codecs: str | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """The bare name by which other files of its item name it."""
        return self.object_key.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class Missing:
    """An extra that could not be made, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Item:
    """An item as it stood when it was read. `facts` is what its original was found to be."""

    app: str
    media_id: str
    customer_id: str
    kind: str
    content_type: str
    state: State
    reason: str | None
    progress: int
    created_at_ms: int
    finished_at_ms: int | None = None
    facts: dict[str, Any] | None = None
    missing: tuple[Missing, ...] = ()
    renditions: tuple[Rendition, ...] = ()


@dataclass(frozen=True, slots=True)
class NewStep:
    """A part that a large file is planned into."""

    name: str
    queue: str
    """Short name of the queue that its task goes to."""
    order: dict[str, Any]
    """What to do, as the worker wrote it; plain JSON."""
    cost_seconds: float
    essential: bool = True


@dataclass(frozen=True, slots=True)
class Task:
    """A step whose message is to be sent."""

    app: str
    media_id: str
    step: str
    queue: str


@dataclass(frozen=True, slots=True)
class Hold:
    """A step as one try of it has it; good as long as nobody claims it anew."""

    app: str
    media_id: str
    step: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Claim(Hold):
    """The right to carry out a step, with what is to be done."""

    role: Role
    kind: str
    customer_id: str
    order: dict[str, Any]
    is_reopened: bool = False
    """Whether the item had failed, for trying too often, and goes on with this claim."""
    facts: dict[str, Any] | None = None
    """What the original was found to be, once somebody has looked at it."""


@dataclass(frozen=True, slots=True)
class Abandoned:
    """A step that nobody works on any more, or that nobody began."""

    hold: Hold
    queue: str
    state: StepState
    tries: int
    """How often it was begun, since it last had all its tries before it."""

    @property
    def task(self) -> Task:
        """What its message has to say."""
        return Task(self.hold.app, self.hold.media_id, self.hold.step, self.queue)


@dataclass(frozen=True, slots=True)
class VariantState:
    """How far a variant got."""

    state: StepState
    reason: str | None
    rendition: Rendition | None
