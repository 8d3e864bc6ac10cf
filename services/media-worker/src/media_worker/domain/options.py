"""What an operator chooses about renditions; each kind of file has its own group."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class PhotoOptions:
    """Choices about photos."""

    also_as: Literal["webp", "avif", "none"] = "webp"
    """Each size is made as this too.

    At the PSNR of the JPEG, WebP has 75 % of its bytes, AVIF 67 % for twice WebP's computing time.
    """


@dataclass(frozen=True, slots=True)
class RecordingOptions:
    """Choices about video and sound."""


@dataclass(frozen=True, slots=True)
class Options:
    """All of them."""

    photo: PhotoOptions = field(default_factory=PhotoOptions)
    recording: RecordingOptions = field(default_factory=RecordingOptions)
