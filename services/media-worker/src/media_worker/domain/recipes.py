"""Recipes: what is made of a kind of file, one declaration each. Pure.

A recipe names renditions; each of them is one file in `renditions/`, which plans its steps from the facts of
the file and makes them. To add a rendition: write its file and name it in a recipe.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from media_worker.domain.photos import PhotoFacts
from media_worker.domain.policy import Format, Probe

Kind = Literal["image", "video", "audio"]

RECIPES: dict[Kind, tuple[str, ...]] = {
    "image": ("photo",),
    "video": ("video", "poster", "preview", "storyboard", "hls"),
    "audio": ("audio",),
}
"""Names of the renditions, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of an original before it is worked on."""

    format: Format
    size_bytes: int
    photo: PhotoFacts | None = None
    recording: Probe | None = None

    @property
    def kind(self) -> Kind:
        """Which recipe it gets."""
        if self.photo is not None:
            return "image"
        return "video" if self.recording and self.recording.video else "audio"

    @property
    def duration_seconds(self) -> float:
        """How long a recording lasts, as far as it tells; 0 for a photo."""
        return (self.recording.duration_seconds or 0.0) if self.recording else 0.0


@dataclass(frozen=True, slots=True)
class Step:
    """A piece of work that one worker does in one go."""

    name: str
    """Unique in the item, such as `hls-720`."""
    rendition: str
    """Which rendition it belongs to."""
    cost_seconds: float
    """About how long it keeps a core: for the choice of the queue and for progress, not for limits."""
    essential: bool = True
    """Whether the item fails where this fails. A missing extra is told in the item's answer instead."""
    arguments: dict[str, Any] = field(default_factory=dict)
    """What the plan decided, as plain JSON: it travels through the catalog."""


@dataclass(frozen=True, slots=True)
class Made:
    """A rendition as a file in the work folder, not stored yet."""

    name: str
    """Unique in the item; what the API calls it."""
    kind: str
    file_name: str
    content_type: str
    width: int | None = None
    height: int | None = None
    duration_seconds: float | None = None
    codecs: str | None = None
    """As in RFC 6381, such as `avc1.64001f,mp4a.40.2`."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What else a client or a later step needs to know of it, as plain JSON."""
