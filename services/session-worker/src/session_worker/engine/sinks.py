"""Runs a sink: gathers messages, writes their events as files, and only then deletes the messages.

Guarantee: at least once. A worker killed between buffer and upload loses nothing: the messages come again.
"""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

from kinstream.chunks import decode_chunk
from kinstream.errors import PermanentError
from kinstream.events import Event
from kinstream.queues import Message, SqsQueue
from session_worker.processor import Sink


class SinkWriter:
    """Writes the files of one sink into its bucket."""

    def __init__(self, sink: Sink, s3: Any, bucket: str, queue: SqsQueue) -> None:
        self._sink = sink
        self._s3 = s3
        self._bucket = bucket
        self._queue = queue

    async def write(self, messages: Sequence[Message]) -> int:
        """Store the events of these messages, which may then be deleted; how many events."""
        events: dict[str, list[Event]] = defaultdict(list)
        for message in messages:
            try:
                chunk = decode_chunk(message.body)
            except PermanentError as error:
                await self._queue.put_aside(message.body, str(error))
                continue
            events[chunk.app] += filter(self._sink.takes, chunk.events)
        for file in self._sink.files(_batch_id(messages), events):
            await self._s3.put_object(
                Bucket=self._bucket, Key=file.key, Body=file.body, Metadata=dict(file.metadata)
            )
        return sum(map(len, events.values()))


def _batch_id(messages: Sequence[Message]) -> str:
    """The same messages give the same name, so that trying again overwrites."""
    names = "\0".join(sorted(message.id for message in messages))
    return blake2b(names.encode(), digest_size=16).hexdigest()
