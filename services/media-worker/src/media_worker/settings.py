"""Settings of the media-worker, beside those that every service shares."""

import tempfile
from pathlib import Path

from pydantic import Field

from kinstream.catalog.limits import MediaSettings
from media_worker.domain.policy import Limits


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
    media_sweep_interval_seconds: float = Field(60.0, gt=0)
    """How often items are looked for that nobody works on any more."""
    media_max_video_pixels: int = Field(4_096 * 2_304, gt=0)
    media_max_video_seconds: float = Field(7_200.0, gt=0)
    media_max_image_pixels: int = Field(100_000_000, gt=0)
    media_max_streams: int = Field(16, ge=1)
    startup_wait_seconds: float = Field(60.0, gt=0)
    """How long to wait at the start for dependencies that are still starting."""

    ecs_agent_uri: str | None = Field(None, validation_alias="ECS_AGENT_URI")
    """Set by ECS itself: where a task asks not to be scaled in while it works on a file."""

    @property
    def heartbeat_seconds(self) -> float:
        """How often a holder renews: four times before its hold could run out."""
        return self.media_visibility_timeout_seconds / 4

    @property
    def limits(self) -> Limits:
        """Bounds on what is decoded."""
        return Limits(
            video_pixels=self.media_max_video_pixels,
            video_duration_seconds=self.media_max_video_seconds,
            image_pixels=self.media_max_image_pixels,
            streams=self.media_max_streams,
        )
