"""Settings of the media-worker, beside those that every service shares."""

import tempfile
from pathlib import Path
from typing import Literal

from pydantic import Field

from kinstream.catalog.limits import MediaSettings
from kinstream.resources import QUEUE_MEDIA, QUEUE_MEDIA_LARGE
from media_worker.domain.containment import SandboxLimits
from media_worker.domain.options import Options, PhotoOptions, RecordingOptions
from media_worker.domain.policy import Limits

_CORES = 5
"""How many a file may keep busy for as long as it may take."""


class MediaWorkerSettings(MediaSettings):
    """Read from the environment with the prefix `KINSTREAM_`; frozen once read."""

    media_concurrency: int = Field(2, ge=1, le=64)
    """Files worked on at once, each in a process of its own."""
    media_work_dir: Path = Path(tempfile.gettempdir()) / "kinstream-media"
    """Where files lie while they are worked on: room for the largest upload, twice, a process."""
    media_task_limit_seconds: int = Field(1_440, ge=5)
    """Longest work on one file; past it, and a minute more, its process is killed."""
    media_visibility_timeout_seconds: int = Field(120, ge=6)
    """For how long a message and its item are held before they count as lost; renewed while work goes on."""
    media_max_receives: int = Field(5, ge=1)
    """How often a file is tried. The queue's redrive policy has to say the same."""
    media_queues: Literal["all", "media", "media-large"] = "all"
    """Which queues to take from. Workers for each alone keep quick files from standing behind slow ones."""
    media_small_cost_seconds: float = Field(20.0, gt=0)
    """A file that costs less computing than about this is worked on in one go; else each step is a task."""
    media_keep_originals: bool = True
    """Whether an upload stays in its bucket once its renditions are made, as long as the bucket keeps it."""
    media_images_also_as: Literal["webp", "avif", "none"] = "webp"
    """What photos are made as beside JPEG."""
    media_video_crf: int = Field(23, ge=0, le=51)
    """Quality of video that is encoded: lower is better and larger."""
    media_video_preset: Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow"] = (
        "veryfast"
    )
    """Effort of video that is encoded: slower is smaller."""
    media_loudness_lufs: float | None = Field(None, ge=-70, le=-5)
    """Loudness that all sound is brought to, such as -16; unset, it stays as it was recorded."""
    media_hls_from_seconds: float = Field(60.0, gt=0)
    media_hls_from_bytes: int = Field(32 * 1024**2, gt=0)
    """Video as long or as large as this is offered as a stream in several sizes too."""
    media_sweep_interval_seconds: float = Field(60.0, gt=0)
    """How often items are looked for that nobody works on any more."""
    media_max_video_pixels: int = Field(4_096 * 2_304, gt=0)
    media_max_video_seconds: float = Field(7_200.0, gt=0)
    media_max_image_pixels: int = Field(100_000_000, gt=0)
    media_max_streams: int = Field(16, ge=1)
    media_video_longest_side: int = Field(1_920, ge=16)
    media_video_shortest_side: int = Field(1_080, ge=16)
    """The largest video that is made, whichever way it is held."""
    media_decoder_memory_bytes: int = Field(900 * 1024**2, ge=100 * 1024**2)
    """Memory of its own for the process that decodes."""
    media_require_isolation: bool = False
    """Whether to decode nothing where the kernel cannot keep a decoder from the network."""

    ecs_agent_uri: str | None = Field(None, validation_alias="ECS_AGENT_URI")
    """Set by ECS itself: where a task asks not to be scaled in while it works on a file."""

    @property
    def heartbeat_seconds(self) -> float:
        """How often a holder renews: four times before its hold could run out."""
        return self.media_visibility_timeout_seconds / 4

    @property
    def task_queues(self) -> tuple[str, ...]:
        """Short names of the queues to take from."""
        return (QUEUE_MEDIA, QUEUE_MEDIA_LARGE) if self.media_queues == "all" else (self.media_queues,)

    @property
    def options(self) -> Options:
        """Choices about renditions."""
        return Options(
            PhotoOptions(also_as=self.media_images_also_as),
            RecordingOptions(
                longest_side=self.media_video_longest_side,
                shortest_side=self.media_video_shortest_side,
                crf=self.media_video_crf,
                preset=self.media_video_preset,
                loudness_lufs=self.media_loudness_lufs,
                hls_from_seconds=self.media_hls_from_seconds,
                hls_from_bytes=self.media_hls_from_bytes,
            ),
        )

    @property
    def sandbox_limits(self) -> SandboxLimits:
        """Bounds on the process that decodes."""
        return SandboxLimits(
            memory_bytes=self.media_decoder_memory_bytes,
            wall_seconds=float(self.media_task_limit_seconds),
            cpu_seconds=_CORES * self.media_task_limit_seconds,
            must_isolate=self.media_require_isolation,
        )

    @property
    def limits(self) -> Limits:
        """Bounds on what is decoded."""
        return Limits(
            video_pixels=self.media_max_video_pixels,
            video_duration_seconds=self.media_max_video_seconds,
            image_pixels=self.media_max_image_pixels,
            streams=self.media_max_streams,
        )
