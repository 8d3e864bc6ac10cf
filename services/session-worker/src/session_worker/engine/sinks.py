"""Runs a sink: gathers messages, writes their events as files, and only then deletes the messages.

Guarantee: at least once. A worker killed between buffer and upload loses nothing: the messages come again.
"""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Any

from kinstream.chunks import decode_chunk
from kinstream.events import Event
from kinstream.queues import Message, SqsQueue
from session_worker.processor import File, Sink


class SinkWriter:
    """Writes the files of one sink into its bucket."""

    def __init__(self, sink: Sink, s3: Any, bucket: str, queue: SqsQueue) -> None:
        self._sink = sink
        self._s3 = s3
        self._bucket = bucket
        self._queue = queue

    async def write(self, messages: Sequence[Message]) -> int:
        """Store the events of these messages, which may then be deleted; how many events."""
        try:
            events = self._events(messages)
            files = await self._files(messages, events)
        except Exception as error:  # noqa: BLE001 - one message must not keep its neighbours out
            if len(messages) == 1:
                await self._queue.put_aside(messages[0].body, f"{type(error).__name__}: {error}")
                return 0
            return sum([await self.write([message]) for message in messages])
        for file in files:
            await self._s3.put_object(
                Bucket=self._bucket, Key=file.key, Body=file.body, Metadata=dict(file.metadata)
            )
        return sum(map(len, events.values()))

    def _events(self, messages: Sequence[Message]) -> dict[str, list[Event]]:
        events: dict[str, list[Event]] = defaultdict(list)
        for message in messages:
            chunk = decode_chunk(message.body)
            events[chunk.app] += filter(self._sink.takes, chunk.events)
        return events

    async def _files(self, messages: Sequence[Message], events: Mapping[str, list[Event]]) -> list[File]:
        # In a thread: making the files of a large batch takes long enough to hold up the counting.
        return await asyncio.to_thread(lambda: list(self._sink.files(_batch_id(messages), events)))


def _batch_id(messages: Sequence[Message]) -> str:
    """The same messages give the same name, so that trying again overwrites."""
    names = "\0".join(sorted(message.id for message in messages))
    return blake2b(names.encode(), digest_size=16).hexdigest()
