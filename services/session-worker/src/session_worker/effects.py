"""What a processor wants done. Effects are values: the engine carries them out, all or none."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kinstream.keys import Key


@dataclass(frozen=True, slots=True)
class Threshold:
    """Marks a counter as due, once, when one of its amounts reaches a value.

    The mark stays until somebody takes it off; crossing again does not move its time.
    """

    amount: str
    at: int


@dataclass(frozen=True, slots=True)
class Tally:
    """Amounts by names that clients make up, stored as `kind:name`.

    The first `most` names that a counter meets have an amount of their own, all others are summed under
    `kind:(other)`: no client makes an item grow without end.
    """

    kind: str
    amounts: Mapping[str, int]
    most: int

    @property
    def names_attribute(self) -> str:
        """Where the counter keeps the names that have an amount of their own."""
        return f"{self.kind}s"


@dataclass(frozen=True, slots=True)
class Increment:
    """Adds to a counter. Merged with all others of the group, so hot counters cost one write."""

    counter: tuple[str, ...]
    amounts: Mapping[str, int]
    members: Mapping[str, frozenset[int]] = field(default_factory=dict)
    """Numbers to unite into number sets; adding twice changes nothing."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Constants by which an index reader knows the counter."""
    spread: bool = False
    """Whether many customers share the counter: it lies in slots, and what a group adds to several such
    counters is added a few seconds later (see `engine.rollup`)."""
    threshold: Threshold | None = None
    tally: Tally | None = None

    def __post_init__(self) -> None:
        if self.spread and (self.threshold or self.tally):
            raise ValueError("a counter that is spread over slots can have no threshold and no tally")


@dataclass(frozen=True, slots=True)
class Toggle:
    """Sets a switch that the latest (time, id) decides, and counts the switches that are on."""

    key: Key
    at_ms: int
    event_id: str
    on: bool
    counter: tuple[str, ...]
    amount: str


@dataclass(frozen=True, slots=True)
class Put:
    """Sets attributes of a record, leaving its other attributes as they are."""

    key: Key
    values: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Announce:
    """Tells a topic, at least once, under an id by which a receiver can drop a repetition."""

    topic: str
    app: str
    announcement_id: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Score:
    """Adds to a content's trending score: approximate, outside the transaction."""

    content_id: str
    weight: float
    at_ms: int


Effect = Increment | Toggle | Put | Announce | Score
