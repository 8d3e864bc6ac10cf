"""Announces closed sessions: to the topic of outward messages, and into the archive through that of events.

Guarantee: what `announce` returns has been confirmed by both topics. At least once, under one id.
"""

import asyncio
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from kinstream.chunks import (
    MAX_CHUNK_BYTES,
    MAX_CHUNK_EVENTS,
    TYPES_ATTRIBUTE,
    Chunk,
    encode_chunk,
    types_attribute,
)
from kinstream.events import SESSION_CLOSED, Event
from kinstream.resources import TOPIC_EVENTS, TOPIC_SESSIONS, Names
from kinstream.views.closing import Closing, announcement_id, told
from session_worker.engine.due_buckets import Row

log = logging.getLogger(__name__)

MAX_BATCH = 10
MAX_BATCH_BYTES = 200_000
"""SNS takes 256 KiB a batch, attributes included."""


class Pending(NamedTuple):
    """A closing that is stored and has yet to be announced, and the row whose look found it."""

    row: Row
    closing: Closing

    @property
    def id(self) -> str:
        """What receivers drop repetitions by."""
        return announcement_id(*self.row.whose, self.closing)


class _Message(NamedTuple):
    pending: Pending
    body: str
    event: Event


class Announcer:
    """Sends closings in as few calls as they fit in."""

    def __init__(self, sns: Any, names: Names) -> None:
        self._sns = sns
        self._sessions_arn = names.topic_arn(TOPIC_SESSIONS)
        self._events_arn = names.topic_arn(TOPIC_EVENTS)

    async def announce(self, pending: Iterable[Pending]) -> list[Pending]:
        """Send these; those that arrived."""
        messages = [_message(one) for one in dict.fromkeys(pending)]
        by_app: dict[str, list[_Message]] = defaultdict(list)
        for message in messages:
            by_app[message.pending.row.whose.app].append(message)
        archived = [
            self._archive(app, part)
            for app, of_app in by_app.items()
            for part in _parts(of_app, MAX_CHUNK_EVENTS, MAX_CHUNK_BYTES)
        ]
        told_outward = [self._tell(part) for part in _parts(messages, MAX_BATCH, MAX_BATCH_BYTES)]
        arrived = await asyncio.gather(*archived, *told_outward)
        in_archive = set[Pending]().union(*arrived[: len(archived)])
        outward = set[Pending]().union(*arrived[len(archived) :])
        return [message.pending for message in messages if message.pending in in_archive & outward]

    async def _tell(self, part: Sequence[_Message]) -> set[Pending]:
        entries = [
            {
                "Id": str(number),
                "Message": message.body,
                "MessageAttributes": {
                    "announcement_id": {"DataType": "String", "StringValue": message.event.id},
                    "app": {"DataType": "String", "StringValue": message.pending.row.whose.app},
                    "type": {"DataType": "String", "StringValue": SESSION_CLOSED},
                },
            }
            for number, message in enumerate(part)
        ]
        try:
            answer = await self._sns.publish_batch(
                TopicArn=self._sessions_arn, PublishBatchRequestEntries=entries
            )
        except (BotoCoreError, ClientError, OSError) as error:
            return _failed(part, type(error).__name__)
        return {part[int(done["Id"])].pending for done in answer.get("Successful", [])}

    async def _archive(self, app: str, part: Sequence[_Message]) -> set[Pending]:
        events = [message.event for message in part]
        try:
            await self._sns.publish(
                TopicArn=self._events_arn,
                Message=encode_chunk(Chunk(app=app, events=events)),
                MessageAttributes={TYPES_ATTRIBUTE: types_attribute(events)},
            )
        except (BotoCoreError, ClientError, OSError) as error:
            return _failed(part, type(error).__name__)
        return {message.pending for message in part}


def _failed(part: Sequence[_Message], error: str) -> set[Pending]:
    log.warning("closings left for the next sweep", extra={"error": error, "closings": len(part)})
    return set()


def _message(pending: Pending) -> _Message:
    body = told(*pending.row.whose, pending.closing)
    event = Event(
        id=pending.id,
        type=SESSION_CLOSED,
        customer_id=body["customer_id"],
        device_id=body["device_id"],
        occurred_at=body["ended_at"],
        received_at_ms=pending.closing.decided_at_ms,
        data=msgspec.Raw(msgspec.json.encode(body)),
        # Nobody's doing: it is kept in the archive and counts nowhere.
        counted=False,
    )
    return _Message(pending, json.dumps(body, ensure_ascii=False), event)


def _parts(messages: Sequence[_Message], most: int, most_bytes: int) -> Iterator[list[_Message]]:
    part: list[_Message] = []
    size = 0
    for message in messages:
        of_message = len(message.body.encode()) + 512
        if part and (len(part) == most or size + of_message > most_bytes):
            yield part
            part, size = [], 0
        part.append(message)
        size += of_message
    if part:
        yield part
