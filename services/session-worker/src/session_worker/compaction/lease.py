"""One worker at a time: a row that says who, and until when."""

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError

from kinstream.dynamo import to_item
from kinstream.keys import Key

LEASE: Key = ("archive-compaction", "lease")
"""In the outbox table. No row of an app looks like this: their keys begin with the app and a #."""


class Lease:
    """One of several workers has it until a time. `owner` names this one."""

    def __init__(self, dynamodb: Any, table: str, owner: str, now_ms: Callable[[], int]) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self._owner = owner
        self._now_ms = now_ms

    async def take(self, seconds: float) -> bool:
        """Take it, or keep it so much longer; False where another has it."""
        now_ms = self._now_ms()
        item = {
            "pk": LEASE[0],
            "sk": LEASE[1],
            "owner": self._owner,
            "until_ms": now_ms + int(seconds * 1000),
        }
        try:
            await self._dynamodb.put_item(
                TableName=self._table,
                Item=to_item(item),
                ConditionExpression="attribute_not_exists(pk) OR until_ms < :now OR #owner = :me",
                ExpressionAttributeNames={"#owner": "owner"},
                ExpressionAttributeValues=to_item({":now": now_ms, ":me": self._owner}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == "ConditionalCheckFailedException":
                return False
            raise
        return True
