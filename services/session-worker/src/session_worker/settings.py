"""Settings of the session-worker, beside those that every service has and those of each processor."""

from pydantic import Field

from kinstream.settings import CoreSettings


class WorkerSettings(CoreSettings):
    """Environment variables `KINSTREAM_...`."""

    processors: str = "all"
    """Names with commas between, or those to leave out, each with a minus; each can scale by itself."""
    archive_max_messages: int = Field(500, ge=1)
    archive_linger_seconds: float = Field(20.0, gt=0, le=40)
    """How long events wait for company before they are archived; less than the queue's visibility."""
    score_flush_seconds: float = Field(30.0, gt=0)
    """How often trending is written, whose half-life is a week. What a worker that is killed had gathered
    since then is lost to it; the fewer writes, the cheaper: a content costs one each time."""
    roll_up_seconds: float = Field(5.0, gt=0)
    """How often the counters of contents are written: they may be so late. The fewer times, the cheaper."""
    outbox_sweep_seconds: float = Field(5.0, gt=0)
    closing_sweep_seconds: float = Field(10.0, gt=0)
    cached_items: int = Field(5_000, ge=0)
    max_blocked_seconds: float = Field(15.0, gt=0)
    """How long a processor may hold the event loop before the process ends, see `engine.watchdog`. Less than
    the visibility of messages."""
