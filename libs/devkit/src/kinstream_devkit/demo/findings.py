"""What the demo found out, as plain values that the reports draw and the exit code follows from."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from kinstream.errors import PermanentError
from kinstream_devkit.generate.world import Delivery
from kinstream_devkit.reference.alerts import Alert
from kinstream_devkit.reference.events import Session


class DemoError(PermanentError):
    """The demo cannot go on. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One result that is not what the reference says. None stands for a result that is not there."""

    key: str
    expected: Any
    found: Any


@dataclass(frozen=True, slots=True)
class Comparison:
    """One kind of result, held against the reference."""

    what: str
    expected: int
    differences: list[Difference]

    @property
    def agreed(self) -> int:
        """How many of the expected results were found as they must be."""
        return self.expected - len({d.key for d in self.differences if d.expected is not None})


@dataclass(frozen=True, slots=True)
class Rejection:
    """An event that the API named as not accepted."""

    delivery: Delivery
    event_id: str | None
    error: str
    detail: str


@dataclass(slots=True)
class Sent:
    """What went over the wire."""

    seconds: float = 0.0
    requests: int = 0
    deliveries: list[Delivery] = field(default_factory=list)
    """What the API took."""
    rejections: list[Rejection] = field(default_factory=list)
    retries: Counter[str] = field(default_factory=Counter)

    @property
    def events_a_second(self) -> float:
        """Durably acknowledged events a second."""
        return len(self.deliveries) / self.seconds if self.seconds else 0.0


@dataclass(frozen=True, slots=True)
class RenditionFile:
    """A downloaded rendition."""

    name: str
    kind: str
    content_type: str
    width: int | None
    height: int | None
    duration_seconds: float | None
    data: bytes
    codecs: str | None = None
    parts: dict[str, bytes] = field(default_factory=dict)
    """What it names and cannot be looked at without, by the name that it has there."""

    @property
    def size_bytes(self) -> int:
        """Of all of it."""
        return len(self.data) + sum(map(len, self.parts.values()))


@dataclass(slots=True)
class MediaResult:
    """A file that went in, what came out, and what is wrong with it."""

    name: str
    content_type: str
    bytes_in: int
    seconds: float = 0.0
    state: str = ""
    reason: str | None = None
    renditions: list[RenditionFile] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    """Extras that could not be made."""
    checks: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Recommended:
    """A story recommended to a customer."""

    content_id: str
    score: float
    because: list[str]


@dataclass(slots=True)
class Recommendations:
    """Lists of the customers that the report shows."""

    source: str = ""
    seconds: float = 0.0
    note: str = ""
    """Why there is no model, where there is none."""
    lists: dict[str, list[Recommended]] = field(default_factory=dict)


@dataclass(slots=True)
class Findings:
    """All of it."""

    source: str
    customers: int
    distinct_events: int
    duplicates: int
    late: int
    sent: Sent
    comparisons: list[Comparison]
    showcase: str = ""
    """The customer whose sessions the report draws."""
    sessions: list[Session] = field(default_factory=list)
    alerts: dict[str, list[Alert]] = field(default_factory=dict)
    people: dict[tuple[str, str], str] = field(default_factory=dict)
    media: list[MediaResult] = field(default_factory=list)
    recommendations: Recommendations = field(default_factory=Recommendations)
    timings: dict[str, float] = field(default_factory=dict)
    """Seconds by stage, in order."""

    @property
    def differing(self) -> int:
        """How many results differ; 0 is success."""
        return sum(len(comparison.differences) for comparison in self.comparisons)
