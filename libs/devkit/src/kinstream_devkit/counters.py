"""Any processor's counters, as people read them."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream import keys
from kinstream.dynamo import from_item, to_key
from kinstream.errors import RetryableError
from kinstream.resources import TABLE_COUNTERS, Names

_TIMES = frozenset({"due_at_ms", "expires_at"})


def read_counter(dynamodb: Any, names: Names, app: str, name: Sequence[str]) -> dict[str, int]:
    """The amounts of a counter by the parts of its name, those of its slots added; none where there is none.

    RetryableError where DynamoDB does not answer.
    """
    table = names.of(TABLE_COUNTERS)
    slots = [keys.counter(app, *name, str(slot)) for slot in range(keys.CONTENT_SLOTS)]
    wanted = [to_key(key) for key in (keys.counter(app, *name), *slots)]
    amounts: dict[str, int] = defaultdict(int)
    pending: Any = {table: {"Keys": wanted, "ConsistentRead": True}}
    try:
        while pending:
            answer = dynamodb.batch_get_item(RequestItems=pending)
            for item in map(from_item, answer["Responses"].get(table, [])):
                for amount, value in item.items():
                    if isinstance(value, int) and amount not in _TIMES:
                        amounts[amount] += value
            pending = answer.get("UnprocessedKeys")
    except (BotoCoreError, ClientError) as error:
        raise RetryableError(f"the counters cannot be read; does the stack still run? ({error})") from error
    return dict(amounts)
