"""Any processor's counters, as people read them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream import keys
from kinstream.dynamo import from_item, to_key
from kinstream.errors import RetryableError
from kinstream.generations import Generations, generations_of, space
from kinstream.resources import TABLE_COUNTERS, TABLE_REGISTRY, Names

_NO_AMOUNTS = frozenset({"due_at_ms", "expires_at", keys.ROLLED_UP_TO})


def read_generations(dynamodb: Any, names: Names, processor: str) -> Generations:
    """Those of a processor, as they are now."""
    key = to_key(keys.generations(processor))
    answer = dynamodb.get_item(TableName=names.of(TABLE_REGISTRY), Key=key, ConsistentRead=True)
    return generations_of(from_item(answer.get("Item", {})))


def read_counter(dynamodb: Any, names: Names, app: str, name: Sequence[str]) -> dict[str, int]:
    """The amounts of a counter by the parts of its name, those of its slots added; none where there is none.

    The first part is taken for its processor's name, whose generation is read that is served.

    RetryableError where DynamoDB does not answer.
    """
    table = names.of(TABLE_COUNTERS)
    amounts: dict[str, int] = defaultdict(int)
    try:
        served = space(app, read_generations(dynamodb, names, name[0]).served)
        slots = [keys.counter(served, *name, str(slot)) for slot in range(keys.CONTENT_SLOTS)]
        wanted = [to_key(key) for key in (keys.counter(served, *name), *slots)]
        pending: Any = {table: {"Keys": wanted, "ConsistentRead": True}}
        while pending:
            answer = dynamodb.batch_get_item(RequestItems=pending)
            for item in map(from_item, answer["Responses"].get(table, [])):
                for amount, value in item.items():
                    if isinstance(value, int) and amount not in _NO_AMOUNTS:
                        amounts[amount] += value
            pending = answer.get("UnprocessedKeys")
    except (BotoCoreError, ClientError) as error:
        raise RetryableError(f"the counters cannot be read; does the stack still run? ({error})") from error
    return dict(amounts)
