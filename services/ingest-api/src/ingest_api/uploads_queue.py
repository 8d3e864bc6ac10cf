"""The queue of uploads, into which this service puts orders for the media-worker."""

from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from ingest_api.errors import unavailable


class UploadsQueue:
    """Sends. `sqs` is aiobotocore's client; the queue is looked up when it is first used."""

    def __init__(self, sqs: Any, name: str) -> None:
        self._sqs = sqs
        self._name = name
        self._url: str | None = None

    async def send(self, body: str) -> None:
        """Returns once the queue has it; ApiError 503 where it did not take it."""
        try:
            if self._url is None:
                self._url = (await self._sqs.get_queue_url(QueueName=self._name))["QueueUrl"]
            await self._sqs.send_message(QueueUrl=self._url, MessageBody=body)
        except (BotoCoreError, ClientError, OSError) as error:
            raise unavailable("pictures cannot be ordered now") from error
