"""Counts a processor anew from the archive, beside what is served, and then switches over.

1. A queue of the rebuild's own begins to hear the topic; workers count what comes into it for a new
   generation (`kinstream.generations`), while the processor's queue is counted for the one that is served.
2. What was received before is in the archive, or will be soon: it is all there once the archive's queue has
   been empty, or else when `archive_lag_seconds` have passed, if the archive is never further behind. It goes
   into the same queue. An event that comes both ways is counted once, by the new generation's ledger.
3. When that is counted, the new generation is served, and the processor's queue is counted for it, too.
4. The rebuild's queue stops listening, what was archived meanwhile is added, and the queue is emptied. It
   held whatever a worker that had not heard of the switch counted for the old generation.

Guarantee: in the end the new generation has every event exactly once. What the archive gets later than that
lag, `kinstream replay` adds exactly once, and `kinstream audit` shows. Killed at any moment, the same command
goes on, and what is served is whole.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream import keys
from kinstream.dynamo import to_item, to_key
from kinstream.errors import RetryableError
from kinstream.generations import MAX_AGE_MS, Generations
from kinstream.resources import DEAD_LETTER_SUFFIX, TABLE_REGISTRY, TOPIC_EVENTS, Names, Queue
from kinstream_devkit.audit.backlog import Backlog
from kinstream_devkit.counters import read_generations
from kinstream_devkit.provision import add_listener, stop_listening
from kinstream_devkit.replay import Archive, Replay, ReplayLog, Span
from kinstream_devkit.replay import Report as Sent
from kinstream_devkit.replay_queue import Pace, ReplayQueue
from session_worker.processor import Reducer
from session_worker.processors.archive import Archive as ArchiveProcessor

SETTLE_SECONDS = 3 * MAX_AGE_MS / 1000
"""After which every worker and every reader has heard of a change."""

QUIET_ON_AWS_SECONDS = 90.0
_FEW_MESSAGES = 10
_EVER = date(1970, 1, 1), date(9000, 1, 1)

Say = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """What a rebuild did."""

    files: int = 0
    events: int = 0
    put_aside: int = 0
    """Messages in its dead-letter queue, which then stays."""


@dataclass(frozen=True, slots=True)
class Terms:
    """How to go about it."""

    rate: float
    """Events of the archive a second, at most."""
    archive_lag_seconds: float = 600
    """How far behind the archive may be at most."""
    settle_seconds: float = SETTLE_SECONDS
    patience_seconds: float = 300
    quiet_seconds: float = 0.5
    """For how long a queue must look empty. AWS's figures may be a minute behind."""


class Rebuild:
    """One rebuild of a processor. RetryableError where it cannot go on now: run it again."""

    def __init__(
        self,
        clients: Mapping[str, Any],
        names: Names,
        processor: Reducer,
        *,
        folder: Path,
        terms: Terms,
        say: Say,
        progress: Callable[[int, int, Sent], None] = lambda *_: None,
    ) -> None:
        self._clients = clients
        self._names = names
        self._processor = processor
        self._folder = folder
        self._terms = terms
        self._say = say
        self._progress = progress
        self._report = Report()
        resource = processor.resource()
        self._queue = Queue(
            names.rebuild_queue(processor.name),
            resource.visibility_timeout_seconds,
            resource.max_receive_count,
            TOPIC_EVENTS,
            # All types, of which the processor takes its own: on AWS a filter takes minutes to be heard of.
            None,
        )

    def run(self) -> Report:
        """From wherever it stands to its end."""
        try:
            found = read_generations(self._clients["dynamodb"], self._names, self._processor.name)
            if found.building is None or found.building != found.served:
                found = self._begin(found)
                self._count_the_archive(found)
                self._write("SET served = building", "building = :building", found.building)
            self._finish(found)
        except (BotoCoreError, ClientError, OSError) as error:
            raise RetryableError(
                f"AWS does not answer; run the same command again, it goes on where it stopped ({error})"
            ) from error
        return self._report

    def _begin(self, found: Generations) -> Generations:
        """The queue first: workers look for it as soon as a generation is said to be built."""
        add_listener(self._clients["sqs"], self._clients["sns"], self._names, self._queue)
        if found.building is None:
            found = Generations(found.served, found.served + 1)
            self._write("SET building = :building", "attribute_not_exists(building)", found.building)
        self._wait_until_heard("until everybody has heard of the new generation")
        return found

    def _count_the_archive(self, found: Generations) -> None:
        began = time.monotonic()
        self._send_archived(found)
        Backlog(self._clients["sqs"], self._names, [ArchiveProcessor.name]).wait(
            self._terms.archive_lag_seconds - (time.monotonic() - began),
            lambda left: self._say(
                f"waiting until what came before is archived: {left:,} messages in its queue"
            ),
            self._terms.quiet_seconds,
        )
        self._send_archived(found)
        self._wait_until_counted(few=_FEW_MESSAGES)

    def _finish(self, found: Generations) -> None:
        """Waits for workers that count for the old generation, and for what the topic had begun to send."""
        self._wait_until_heard("until everybody has heard of the switch")
        stop_listening(self._clients["sns"], self._names, self._queue)
        self._wait_until_heard("until the topic has sent what it had begun to send")
        self._send_archived(found, is_last=True)
        self._wait_until_counted()
        aside = self._messages().put_aside()
        self._write("REMOVE building", "served = :building", found.building)
        # At once: after a death from here on the same command would begin another rebuild. Workers that
        # still ask for the queue are refused for a moment.
        for name in [self._queue.name] if aside else [self._queue.name, self._dead_letters]:
            url = self._clients["sqs"].get_queue_url(QueueName=name)["QueueUrl"]
            self._clients["sqs"].delete_queue(QueueUrl=url)
        self._report.put_aside = aside

    def _send_archived(self, found: Generations, *, is_last: bool = False) -> None:
        """What is in the archive and was not sent yet."""
        span = Span(f"{self._processor.name}~{found.building}", *_EVER)
        archive = Archive(self._clients["s3"], self._names)
        log = ReplayLog(self._folder, span)
        replay = Replay(archive, log, self._processor.takes, self._messages().send)
        sent = replay.run(span, self._progress, is_last=is_last)
        self._report.files += sent.files
        self._report.events += sent.events

    def _messages(self) -> ReplayQueue:
        sqs, name = self._clients["sqs"], self._processor.name
        return ReplayQueue(sqs, self._names, name, Pace(self._terms.rate), self._say, rebuild=True)

    @property
    def _dead_letters(self) -> str:
        return self._queue.name + DEAD_LETTER_SUFFIX

    def _wait_until_counted(self, few: int = 0) -> None:
        terms = self._terms
        if not self._messages().wait_until_empty(terms.patience_seconds, few, terms.quiet_seconds):
            raise RetryableError(
                "the worker does not come to the end of the rebuild's queue; run the same command again, it "
                "goes on where it stopped"
            )

    def _wait_until_heard(self, why: str) -> None:
        self._say(f"waiting {self._terms.settle_seconds:.0f} s {why}")
        time.sleep(self._terms.settle_seconds)

    def _write(self, update: str, condition: str, building: int | None) -> None:
        self._clients["dynamodb"].update_item(
            TableName=self._names.of(TABLE_REGISTRY),
            Key=to_key(keys.generations(self._processor.name)),
            UpdateExpression=update,
            ConditionExpression=condition,
            ExpressionAttributeValues=to_item({":building": building}),
        )
