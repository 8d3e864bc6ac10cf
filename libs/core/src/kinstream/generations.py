"""Generations of a processor's results: the one that is served, and one that is being built beside it.

Results of a generation lie under the app's name with the number behind it, so each has a ledger, counters and
records of its own. Which one is served is a row of the registry, which `kinstream rebuild` writes.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from kinstream import keys
from kinstream.dynamo import from_item, to_key

MAX_AGE_MS = 3_000
"""So old at most is what a reader takes to be true: a rebuild waits longer after each change."""

_MARK = "~"


class Generations(NamedTuple):
    """A processor's. 0 is the first."""

    served: int = 0
    building: int | None = None
    """What a rebuild counts; once it is served, this is the same until the rebuild has tidied up."""


def space(app: str, generation: int) -> str:
    """What stands for the app in the keys of a generation. No app has a tilde in its name."""
    return f"{app}{_MARK}{generation}" if generation else app


def app_of(name: str) -> str:
    """The app of a space."""
    return name.partition(_MARK)[0]


def generations_of(row: dict[str, Any]) -> Generations:
    """From the row of the registry, empty where there is none."""
    return Generations(row.get("served", 0), row.get("building"))


class GenerationsReader:
    """Reads the registry, every few seconds."""

    def __init__(self, dynamodb: Any, registry_table: str, now_ms: Callable[[], int]) -> None:
        self._dynamodb = dynamodb
        self._table = registry_table
        self._now_ms = now_ms
        self._known: dict[str, tuple[int, Generations]] = {}

    async def of(self, processor: str) -> Generations:
        """As they were at most `MAX_AGE_MS` ago. The client's errors where DynamoDB does not answer."""
        now_ms = self._now_ms()
        read_at_ms, found = self._known.get(processor, (0, Generations()))
        if 0 <= now_ms - read_at_ms < MAX_AGE_MS:
            return found
        answer = await self._dynamodb.get_item(
            TableName=self._table, Key=to_key(keys.generations(processor)), ConsistentRead=True
        )
        found = generations_of(from_item(answer.get("Item", {})))
        self._known[processor] = now_ms, found
        return found
