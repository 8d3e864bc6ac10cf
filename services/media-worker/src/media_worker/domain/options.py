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

    longest_side: int = 1920
    shortest_side: int = 1080
    """The largest video, whichever way it is held; what is larger is scaled down."""
    most_frames_a_second: int = 60
    crf: int = 23
    """x264's quality: lower is better and larger."""
    preset: str = "veryfast"
    """x264's effort."""
    loudness_lufs: float | None = None
    """Loudness that all sound is brought to, such as -16 (EBU R 128); None leaves it as it was recorded."""
    hls_from_seconds: float = 60.0
    hls_from_bytes: int = 32 * 1024 * 1024
    """Video as long or as large as this is offered as a stream in several sizes too."""
    hls_segment_seconds: float = 4.0
    hls_rungs: tuple[tuple[int, int], ...] = (
        (1080, 5_000_000),
        (720, 2_800_000),
        (480, 1_200_000),
        (240, 400_000),
    )
    """Shorter side and most bits a second of each size."""
    poster_side: int = 1280
    storyboard_from_seconds: float = 5.0
    storyboard_tiles: int = 60
    """At most so many pictures, and one a second."""
    storyboard_side: int = 160
    preview_seconds: float = 3.0
    preview_places: int = 3
    """The preview is put together of so many pieces of the video."""
    preview_side: int = 320
    preview_frames_a_second: int = 15


@dataclass(frozen=True, slots=True)
class Options:
    """All of them."""

    photo: PhotoOptions = field(default_factory=PhotoOptions)
    recording: RecordingOptions = field(default_factory=RecordingOptions)
