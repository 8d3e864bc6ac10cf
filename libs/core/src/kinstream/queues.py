"""SQS as the workers use it: receive, delete, give back, put aside with a reason."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.chunks import REASON_ATTRIBUTE
from kinstream.resources import DEAD_LETTER_SUFFIX

log = logging.getLogger(__name__)

MAX_BATCH = 10
_MAX_REASON_CHARACTERS = 1_000


@dataclass(frozen=True, slots=True)
class Message:
    """A received message. `receipt` is good for this delivery alone."""

    id: str
    body: str
    receipt: str
    receive_count: int
    attributes: dict[str, str] = field(default_factory=dict)


class SqsQueue:
    """One queue and its dead-letter queue. At least once: whoever deletes decides what is done."""

    def __init__(self, client: Any, url: str, dead_letter_url: str) -> None:
        self._client = client
        self._url = url
        self.dead_letter_url = dead_letter_url

    @classmethod
    async def open(cls, client: Any, name: str) -> "SqsQueue":
        """The queue of this name and the dead-letter queue beside it."""
        urls = [
            (await client.get_queue_url(QueueName=full))["QueueUrl"]
            for full in (name, name + DEAD_LETTER_SUFFIX)
        ]
        return cls(client, *urls)

    async def receive(self, wait_seconds: int = 10, most: int = MAX_BATCH) -> list[Message]:
        """Up to ten messages, waiting for the first at most `wait_seconds`."""
        answer = await self._client.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=min(most, MAX_BATCH),
            WaitTimeSeconds=wait_seconds,
            AttributeNames=["ApproximateReceiveCount"],
            MessageAttributeNames=["All"],
        )
        return [_message(raw) for raw in answer.get("Messages", [])]

    async def delete(self, messages: Sequence[Message]) -> None:
        """Delete; one that could not be is delivered again, which every consumer here survives."""
        for start in range(0, len(messages), MAX_BATCH):
            part = messages[start : start + MAX_BATCH]
            answer = await self._client.delete_message_batch(
                QueueUrl=self._url,
                Entries=[
                    {"Id": str(number), "ReceiptHandle": message.receipt}
                    for number, message in enumerate(part)
                ],
            )
            for failure in answer.get("Failed", []):
                log.warning("message not deleted", extra={"code": failure.get("Code")})

    async def extend(self, messages: Sequence[Message], seconds: int) -> None:
        """Make the messages invisible for `seconds` from now; 0 gives them back at once."""
        for start in range(0, len(messages), MAX_BATCH):
            part = messages[start : start + MAX_BATCH]
            await self._client.change_message_visibility_batch(
                QueueUrl=self._url,
                Entries=[
                    {
                        "Id": str(number),
                        "ReceiptHandle": message.receipt,
                        "VisibilityTimeout": seconds,
                    }
                    for number, message in enumerate(part)
                ],
            )

    async def give_back(self, messages: Sequence[Message], seconds: int) -> None:
        """Like `extend`, for messages that failed: where even that fails, their timeout does it."""
        try:
            await self.extend(messages, seconds)
        except (BotoCoreError, ClientError, OSError) as error:
            log.warning("messages not given back", extra={"error": type(error).__name__})

    async def put_aside(self, body: str, reason: str) -> None:
        """Send a body to the dead-letter queue with the reason why it can never succeed."""
        await self._client.send_message(
            QueueUrl=self.dead_letter_url,
            MessageBody=body,
            MessageAttributes={
                REASON_ATTRIBUTE: {
                    "DataType": "String",
                    "StringValue": reason[:_MAX_REASON_CHARACTERS] or "no reason was given",
                }
            },
        )


def retry_delay_seconds(receive_count: int, most: int = 300) -> int:
    """Exponential: 2, 4, 8 ... seconds before a failed message is seen again."""
    return int(min(most, 2 ** min(receive_count, 16)))


def _message(raw: dict[str, Any]) -> Message:
    return Message(
        id=raw["MessageId"],
        body=raw["Body"],
        receipt=raw["ReceiptHandle"],
        receive_count=int(raw.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
        attributes={
            name: value["StringValue"]
            for name, value in raw.get("MessageAttributes", {}).items()
            if "StringValue" in value
        },
    )
