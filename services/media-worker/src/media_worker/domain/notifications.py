"""What the queue of uploads tells: new objects by S3, and variants that somebody ordered by the API."""

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote_plus
from uuid import NAMESPACE_URL, UUID, uuid5

from kinstream.errors import PermanentError


@dataclass(frozen=True, slots=True)
class Created:
    """An object that came into being."""

    bucket: str
    key: str
    size_bytes: int
    version: str
    """The object's version, or its ETag where the bucket keeps no versions."""

    @property
    def task_id(self) -> UUID:
        """The same for every notification of the same object."""
        return uuid5(NAMESPACE_URL, f"s3://{self.bucket}/{self.key}#{self.version}")


@dataclass(frozen=True, slots=True)
class Ordered:
    """A variant whose row is in the catalog and waits to be made."""

    app: str
    media_id: str
    step: str


def requests(body: str) -> list[Created | Ordered]:
    """What a message asks for: the new objects of a notification, straight from S3 or through SNS, or a
    variant; nothing for S3's own test message.

    PermanentError for anything else.
    """
    message = _decode(body)
    if message.get("kinstream") == "variant":
        return [_ordered(message)]
    if message.get("Type") == "Notification" and isinstance(message.get("Message"), str):
        message = _decode(message["Message"])
    if message.get("Event") == "s3:TestEvent":
        return []
    try:
        return [
            _created(record["s3"])
            for record in message["Records"]
            # With and without the prefix: S3 leaves it out in records.
            if "ObjectCreated:" in record["eventName"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise PermanentError("the message is no notification of S3") from error


def _ordered(message: dict[str, Any]) -> Ordered:
    values = [message.get(name) for name in ("app", "media_id", "step")]
    if not all(isinstance(value, str) and value for value in values):
        raise PermanentError("the order of a variant names no item or no step")
    return Ordered(*values)  # type: ignore[arg-type]


def _created(record: dict[str, Any]) -> Created:
    found = record["object"]
    return Created(
        bucket=record["bucket"]["name"],
        key=unquote_plus(found["key"]),
        size_bytes=int(found.get("size", 0)),
        version=found.get("versionId") or found.get("eTag") or "",
    )


def _decode(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except ValueError as error:
        raise PermanentError("the message is no JSON") from error
    if not isinstance(message, dict):
        raise PermanentError("the message is no JSON object")
    return message
