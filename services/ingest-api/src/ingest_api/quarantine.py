"""Where events go that are not counted: an S3 object a request, with the reason beside each event."""

import uuid
from collections.abc import Sequence
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from ingest_api.admission import Quarantined
from kinstream.errors import RetryableError
from kinstream.events import format_time_ms

_encoder = msgspec.json.Encoder()


class Quarantine:
    """Writes are durable when `put` returns; a request that is sent again is written again."""

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3 = s3
        self._bucket = bucket

    async def put(self, app: str, received_at_ms: int, events: Sequence[Quarantined]) -> None:
        """Keep the events; RetryableError where S3 does not confirm."""
        received_at = format_time_ms(received_at_ms)
        lines = [
            {"app": app, "received_at": received_at, **msgspec.structs.asdict(event)} for event in events
        ]
        try:
            await self._s3.put_object(
                Bucket=self._bucket,
                Key=f"app={app}/dt={received_at[:10]}/{uuid.uuid4().hex}.ndjson",
                Body=_encoder.encode_lines(lines),
                ContentType="application/x-ndjson",
            )
        except (BotoCoreError, ClientError, OSError) as error:
            raise RetryableError(f"the quarantine does not answer: {type(error).__name__}") from error
