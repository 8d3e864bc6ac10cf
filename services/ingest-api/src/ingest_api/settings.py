"""Settings of ingest-api, beside those that every service shares."""

from pydantic import Field

from kinstream.catalog.limits import MediaSettings


class IngestSettings(MediaSettings):
    """Read from the environment with the prefix `KINSTREAM_`; frozen once read."""

    http_host: str = "127.0.0.1"
    http_port: int = Field(8080, ge=0, le=65_535)
    publish_linger_seconds: float = Field(0.003, ge=0, le=1)
    """How long events wait for company before they are sent to SNS."""
    publish_in_flight: int = Field(4, ge=1, le=64)
    """Calls to SNS under way at once."""
    backlog_max_events: int = Field(50_000, ge=1_000)
    """Events in memory that SNS has not confirmed; beyond it senders are told to come back."""
    backlog_max_bytes: int = Field(64 * 1024 * 1024, ge=2 * 1024 * 1024)
    aws_timeout_seconds: float = Field(3.0, gt=0, le=10)
    """Of one attempt to reach AWS; there are two, so that a sender hears within 8 s."""
    key_cache_seconds: float = Field(10.0, ge=0)
    """How long a revoked key may still work."""
    trending_cache_seconds: int = Field(15, ge=1)
    startup_wait_seconds: float = Field(60.0, gt=0)
    """How long to wait at the start for dependencies that are still starting."""
