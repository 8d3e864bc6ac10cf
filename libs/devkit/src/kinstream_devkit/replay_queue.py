"""The queue of a processor that is replayed: filled at a bounded rate, never far ahead of the worker."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.chunks import Chunk, encode_chunk
from kinstream.errors import PermanentError, RetryableError
from kinstream.queues import MAX_BATCH
from kinstream.resources import DEAD_LETTER_SUFFIX, Names

MOST_WAITING = 100
"""Messages in the queue beyond which nothing is added: what comes live must not wait long behind it."""

_MAX_BATCH_BYTES = 200_000
"""Of message bodies: SQS takes 256 KiB in one call."""
_LOOK_EVERY = 20
_PATIENCE_SECONDS = 300.0
_PAUSE_SECONDS = 0.2
_ATTEMPTS = 8
_WAITING, _UNDER_WAY = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"

Say = Callable[[str], None]


class Pace:
    """Holds whoever takes more than `rate` a second. What was not used is not saved up."""

    def __init__(
        self,
        rate: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = rate
        self._clock = clock
        self._sleep = sleep
        self._free_at = clock()

    def take(self, number: int) -> None:
        """Return when `number` more may pass."""
        now = self._clock()
        if self._free_at > now:
            self._sleep(self._free_at - now)
        self._free_at = max(self._free_at, now) + number / self._rate


class Quiet:
    """Whether something has been so for long enough, looked at now and then."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._clock = clock
        self._since: float | None = None

    def lasts(self, is_so: bool) -> bool:
        """Take note of a look: whether it has been so at each one for so long, and at two at least."""
        now = self._clock()
        if not is_so:
            self._since = None
        elif self._since is None:
            self._since = now
        else:
            return now - self._since >= self._seconds
        return False


class ReplayQueue:
    """Sends chunks to a processor's queue, at least once. RetryableError where SQS or the worker is away."""

    def __init__(
        self, sqs: Any, names: Names, processor: str, pace: Pace, say: Say, *, rebuild: bool = False
    ) -> None:
        self._sqs = sqs
        self._pace = pace
        self._say = say
        self._calls = 0
        queue = names.rebuild_queue(processor) if rebuild else names.processor_queue(processor)
        try:
            self._url, self._dead_letter_url = (
                sqs.get_queue_url(QueueName=name)["QueueUrl"] for name in (queue, queue + DEAD_LETTER_SUFFIX)
            )
        except sqs.exceptions.QueueDoesNotExist as error:
            raise PermanentError(
                f"the running stack has no queue of {processor}; start it again: it reads the processors "
                "from the code when it starts"
            ) from error

    def send(self, chunks: Iterable[Chunk]) -> int:
        """How many events, once SQS has confirmed all of them."""
        events = 0
        for batch in _batches(chunks):
            if self._calls % _LOOK_EVERY == 0:
                self._wait_for_room()
            self._calls += 1
            self._pace.take(sum(number for _, number in batch))
            self._send([body for body, _ in batch])
            events += sum(number for _, number in batch)
        return events

    def put_aside(self) -> int:
        """Messages in the dead-letter queue."""
        return self._numbers(self._dead_letter_url)[0]

    def wait_until_empty(
        self,
        patience_seconds: float = _PATIENCE_SECONDS,
        few: int = 0,
        quiet_seconds: float = _PAUSE_SECONDS,
    ) -> bool:
        """Whether the worker has counted everything but so few messages; False where too much comes live to
        tell. It must look so for `quiet_seconds`: SQS's figures are approximate."""
        deadline = time.monotonic() + patience_seconds
        quiet = Quiet(quiet_seconds)
        while True:
            numbers = self._numbers(self._url)
            if quiet.lasts(sum(numbers) <= few):
                return True
            if time.monotonic() >= deadline:
                return False
            self._say(f"waiting until the worker has counted them: {sum(numbers):,} messages to go")
            time.sleep(_PAUSE_SECONDS)

    def _wait_for_room(self) -> None:
        fewest, deadline = float("inf"), 0.0
        while (waiting := self._numbers(self._url)[0]) > MOST_WAITING:
            now = time.monotonic()
            if waiting < fewest:
                fewest, deadline = waiting, now + _PATIENCE_SECONDS
            if now >= deadline:
                raise RetryableError(
                    f"the worker does not keep up: {waiting:,} messages wait in its queue; run the same "
                    "command again later, it goes on where it stopped"
                )
            self._say(f"waiting for the worker: {waiting:,} messages in its queue")
            time.sleep(_PAUSE_SECONDS)

    def _send(self, bodies: list[str]) -> None:
        for attempt in range(_ATTEMPTS):
            entries = [{"Id": str(number), "MessageBody": body} for number, body in enumerate(bodies)]
            try:
                answer = self._sqs.send_message_batch(QueueUrl=self._url, Entries=entries)
            except (BotoCoreError, ClientError) as error:
                raise _away(error) from error
            bodies = [bodies[int(failed["Id"])] for failed in answer.get("Failed", [])]
            if not bodies:
                return
            time.sleep(_PAUSE_SECONDS * 2**attempt)
        raise _away("SQS refuses messages")

    def _numbers(self, url: str) -> tuple[int, int]:
        """Messages that wait and messages that are under way, about."""
        try:
            answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[_WAITING, _UNDER_WAY])
        except (BotoCoreError, ClientError) as error:
            raise _away(error) from error
        return int(answer["Attributes"][_WAITING]), int(answer["Attributes"][_UNDER_WAY])


def _batches(chunks: Iterable[Chunk]) -> Iterator[list[tuple[str, int]]]:
    """(message body, its events) in lists that SQS takes in one call each."""
    batch: list[tuple[str, int]] = []
    size_bytes = 0
    for chunk in chunks:
        body = encode_chunk(chunk)
        if batch and (len(batch) == MAX_BATCH or size_bytes + len(body) > _MAX_BATCH_BYTES):
            yield batch
            batch, size_bytes = [], 0
        batch.append((body, len(chunk.events)))
        size_bytes += len(body)
    if batch:
        yield batch


def _away(cause: object) -> RetryableError:
    return RetryableError(
        "the processor's queue does not answer; run the same command again, it goes on where it stopped "
        f"({cause})"
    )
