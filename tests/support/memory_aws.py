"""DynamoDB, SQS and SNS in memory, for tests that choose what happens between any two calls."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from botocore.exceptions import ClientError

from benchmarks.memory_dynamodb import Listener, MemoryDynamoDb
from benchmarks.memory_expressions import Item
from kinstream.queues import MAX_BATCH


class ForgetfulDynamoDb(MemoryDynamoDb):
    """Gives stale answers where it may: eventually consistent reads of what was there before."""

    def __init__(self, on_write: Listener) -> None:
        super().__init__(self._heard)
        self._listener = on_write
        self._before: dict[tuple[str, str, str], Item | None] = {}

    def handle_stale(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """What was there one write earlier, of each item by itself."""
        answer = self.handle(action, request)
        if action != "BatchGetItem":
            return answer
        found: dict[str, list[Item]] = {}
        for table, spec in request["RequestItems"].items():
            keys = [(table, key["pk"]["S"], key["sk"]["S"]) for key in spec["Keys"]]
            old = [self._before.get(key) for key in keys]
            found[table] = [item for item in old if item]
        return answer | {"Responses": found}

    def handle_part(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Leave half of the keys of a read unread, half of a batch unwritten."""
        ((table, spec),) = request.get("RequestItems", {"": []}).items()
        if action == "BatchWriteItem":
            middle = len(spec) // 2
            if spec[:middle]:
                self.handle(action, {"RequestItems": {table: spec[:middle]}})
            return {"UnprocessedItems": {table: spec[middle:]}}
        if action != "BatchGetItem":
            return self.handle(action, request)
        middle = len(spec["Keys"]) // 2
        read, left = spec["Keys"][:middle], spec["Keys"][middle:]
        answer = self.handle(action, {"RequestItems": {table: {"Keys": read}}})
        return answer | {"UnprocessedKeys": {table: {"Keys": left}}}

    def _heard(self, table: str, before: Item | None, after: Item | None, in_transaction: bool) -> None:
        item = after or before or {}
        self._before[table, item["pk"]["S"], item["sk"]["S"]] = before
        self._listener(table, before, after, in_transaction)


@dataclass
class Stored:
    """A message in its queue."""

    id: str
    body: str
    received: int = 0


@dataclass
class MemorySqs:
    """Queues by name. What is not deleted may be delivered at any time, to anybody, again and again."""

    queues: dict[str, dict[str, Stored]] = field(default_factory=lambda: defaultdict(dict))
    picks: list[int] = field(default_factory=list)
    """Which messages the next receive gives, by their place in the queue; the first ones if empty."""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def send(self, queue: str, body: str) -> None:
        """Put a message into a queue."""
        name = f"m{next(self._numbers)}"
        self.queues[queue][name] = Stored(name, body)

    def handle(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Do it. A receipt is the message's id: one of an old delivery is as good as any."""
        match action:
            case "GetQueueUrl":
                return {"QueueUrl": request["QueueName"]}
            case "SendMessage":
                self.send(request["QueueUrl"], request["MessageBody"])
                return {}
            case "ReceiveMessage":
                return self._receive(self.queues[request["QueueUrl"]])
            case "DeleteMessageBatch":
                for entry in request["Entries"]:
                    self.queues[request["QueueUrl"]].pop(entry["ReceiptHandle"], None)
                return {}
            case "ChangeMessageVisibilityBatch":
                return {}
        raise ClientError({"Error": {"Code": "InvalidAction", "Message": action}}, action)

    def handle_stale(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """SQS has no stale answers."""
        return self.handle(action, request)

    def handle_part(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Leave half of a batch undone, and say so."""
        if "Entries" not in request:
            return self.handle(action, request)
        middle = len(request["Entries"]) // 2
        failed = [{"Id": entry["Id"], "Code": "InternalError"} for entry in request["Entries"][middle:]]
        self.handle(action, request | {"Entries": request["Entries"][:middle]})
        return {"Failed": failed}

    def _receive(self, queue: dict[str, Stored]) -> dict[str, Any]:
        waiting = list(queue.values())
        picks = dict.fromkeys(pick % len(waiting) for pick in self.picks) if waiting else {}
        chosen = [waiting[pick] for pick in picks] or waiting
        self.picks = []
        for message in chosen[:MAX_BATCH]:
            message.received += 1
        return {
            "Messages": [
                {
                    "MessageId": message.id,
                    "Body": message.body,
                    "ReceiptHandle": message.id,
                    "Attributes": {"ApproximateReceiveCount": str(message.received)},
                }
                for message in chosen[:MAX_BATCH]
            ]
        }


@dataclass
class MemorySns:
    """Remembers what was published."""

    published: list[dict[str, Any]] = field(default_factory=list)
    """Requests of Publish; those of a batch one by one."""

    def handle(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """Publish."""
        if action == "Publish":
            self.published.append(request)
            return {}
        assert action == "PublishBatch"
        entries = request["PublishBatchRequestEntries"]
        self.published += [{"TopicArn": request["TopicArn"], **entry} for entry in entries]
        return {"Successful": [{"Id": entry["Id"]} for entry in entries], "Failed": []}

    def handle_stale(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """SNS has no stale answers."""
        return self.handle(action, request)

    def handle_part(self, action: str, request: dict[str, Any]) -> dict[str, Any]:
        """A batch arrives in part."""
        if action != "PublishBatch":
            return self.handle(action, request)
        entries = request["PublishBatchRequestEntries"]
        part = entries[: len(entries) // 2]
        failed = [{"Id": entry["Id"], "Code": "InternalError"} for entry in entries[len(part) :]]
        return self.handle(action, request | {"PublishBatchRequestEntries": part}) | {"Failed": failed}
