"""Messages that are on their way: what they hold may be in the archive and not in the counters, or the other
way round."""

import time
from collections.abc import Callable, Iterable
from typing import Any

from botocore.exceptions import ClientError

from kinstream.resources import Names
from kinstream_devkit.replay_queue import Quiet

_POLL_SECONDS = 0.5
_ATTRIBUTES = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


class Backlog:
    """The queues of some processors."""

    def __init__(self, sqs: Any, names: Names, processors: Iterable[str]) -> None:
        self._sqs = sqs
        self._queues = [names.processor_queue(processor) for processor in processors]

    def messages(self) -> int:
        """About how many wait or are being worked on."""
        return sum(map(self._in_queue, self._queues))

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
