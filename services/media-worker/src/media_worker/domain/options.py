"""What an operator chooses about renditions; each kind of file has its own group."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PhotoOptions:
    """Choices about photos."""


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """Choices about video and sound."""


@dataclass(frozen=True, slots=True)
class Options:
    """All of them."""

    photo: PhotoOptions = field(default_factory=PhotoOptions)
    recording: RecordingOptions = field(default_factory=RecordingOptions)
