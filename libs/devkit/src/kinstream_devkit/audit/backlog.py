"""Messages that are on their way: what they hold may be in the archive and not in the counters, or the other
way round."""

import time
from collections.abc import Callable, Iterable
from itertools import product
from typing import Any

from botocore.exceptions import ClientError

from kinstream import keys
from kinstream.dynamo import to_item
from kinstream.resources import TABLE_COUNTERS, Names
from kinstream_devkit.replay_queue import Quiet

_POLL_SECONDS = 0.5
_ATTRIBUTES = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Journal:
    """What has been counted and is not in the counters yet that many customers share."""

    def __init__(self, dynamodb: Any, names: Names) -> None:
        self._dynamodb = dynamodb
        self._table = names.of(TABLE_COUNTERS)

    def entries(self) -> int:
        """How many there are, where a part has many, at least."""
        parts = product(range(keys.CONTENT_SLOTS), range(keys.JOURNAL_PARTS))
        return sum(self._in_part(keys.journal_part(slot, part)) for slot, part in parts)

    def _in_part(self, partition: str) -> int:
        answer = self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": partition}),
            ConsistentRead=True,
            Select="COUNT",
        )
        return int(answer["Count"])


class Backlog:
    """The queues of some processors, and the journal, where it is given."""

    def __init__(
        self, sqs: Any, names: Names, processors: Iterable[str], journal: Journal | None = None
    ) -> None:
        self._journal = journal
        self._sqs = sqs
        self._queues = [names.processor_queue(processor) for processor in processors]

    def messages(self) -> int:
        """About how many wait or are being worked on; where there are none, how many have left a trace in
        the journal."""
        waiting = sum(map(self._in_queue, self._queues))
        return waiting or (self._journal.entries() if self._journal else 0)

    def wait(
        self, seconds: float, progress: Callable[[int], None], quiet_seconds: float = _POLL_SECONDS
    ) -> int:
        """Wait until there are none, at most so long; how many there still are. The queues must look empty
        for `quiet_seconds`: their figures are approximate."""
        deadline = time.monotonic() + seconds
        quiet = Quiet(quiet_seconds)
        while True:
            left = self.messages()
            if quiet.lasts(not left) or time.monotonic() >= deadline:
                return left
            progress(left)
            time.sleep(_POLL_SECONDS)

    def _in_queue(self, name: str) -> int:
        try:
            url = self._sqs.get_queue_url(QueueName=name)["QueueUrl"]
        except ClientError as error:
            if "NonExistentQueue" in error.response["Error"]["Code"]:
                return 0
            raise
        answer = self._sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(_ATTRIBUTES))
        return sum(int(answer["Attributes"].get(name, 0)) for name in _ATTRIBUTES)
