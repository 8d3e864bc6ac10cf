"""Apps, and their customers who are due for a training."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from typing import Any

from botocore.exceptions import ClientError

from kinstream import keys
from kinstream.dynamo import from_item, to_item
from kinstream.resources import BUCKET_TRAINING, INDEX_DUE, TABLE_COUNTERS, TABLE_REGISTRY, Names
from recommender_trigger.domain.runs import DueCustomer, Run
from recommender_trigger.storage import read_object

_PARALLEL = 16
_CONFLICT_ATTEMPTS = 8


class Customers:
    """Reads the registry and the due index, and sets back who has been served."""

    def __init__(self, dynamodb: Any, s3: Any, names: Names, threshold_events: int) -> None:
        self._dynamodb = dynamodb
        self._s3 = s3
        self._training = names.of(BUCKET_TRAINING)
        self._counters = names.of(TABLE_COUNTERS)
        self._registry = names.of(TABLE_REGISTRY)
        self._threshold = threshold_events

    async def apps(self) -> list[str]:
        """Every app of the deployment."""
        values = {":pk": keys.app("")[0]}
        request = {"TableName": self._registry, "KeyConditionExpression": "pk = :pk"}
        return [item["sk"] async for item in self._query(request, values)]

    async def due(self) -> dict[str, list[DueCustomer]]:
        """Customers who are due, by app, longest waiting first."""
        request = {
            "TableName": self._counters,
            "IndexName": INDEX_DUE,
            "KeyConditionExpression": "due_shard = :shard",
        }
        found: dict[str, list[DueCustomer]] = defaultdict(list)
        async for item in self._query(request, {":shard": keys.DUE_SHARD}):
            customer = DueCustomer(item["customer_id"], item["due_at_ms"], item["events_since_training"])
            found[item["app"]].append(customer)
        return found

    async def remember(self, run: Run, customers: Sequence[DueCustomer]) -> None:
        """Keep who was due at launch beside the run's files: too many for the run's row."""
        rows = [(customer.customer_id, customer.due_at_ms, customer.events) for customer in customers]
        await self._s3.put_object(Bucket=self._training, Key=_due_key(run), Body=json.dumps(rows).encode())

    async def served(self, run: Run) -> None:
        """Subtract what was seen at launch; who has crossed the threshold again since stays due.

        Safe to repeat: a customer remembers the last run that served it.
        """
        rows = json.loads(await read_object(self._s3, self._training, _due_key(run)))
        customers = [DueCustomer(*row) for row in rows]
        limit = asyncio.Semaphore(_PARALLEL)

        async def one(customer: DueCustomer) -> None:
            async with limit:
                if not await self._subtract(run, customer, keep_due=False):
                    await self._subtract(run, customer, keep_due=True)

        await asyncio.gather(*(one(customer) for customer in customers))

    async def _subtract(self, run: Run, customer: DueCustomer, *, keep_due: bool) -> bool:
        pk, sk = keys.customer_counters(run.app, customer.customer_id)
        values = {":seen": customer.events, ":run": run.run_id, ":least": customer.events + self._threshold}
        update = "SET events_since_training = events_since_training - :seen, trained_run = :run"
        if keep_due:
            update += ", due_at_ms = :launched"
            values[":launched"] = run.launched_at_ms
        else:
            update += " REMOVE due_shard, due_at_ms"
        # Compared, not only told apart: a run that comes back late must not undo a newer one's mark.
        condition = "(attribute_not_exists(trained_run) OR trained_run < :run) AND events_since_training "
        for attempt in range(_CONFLICT_ATTEMPTS):
            try:
                await self._dynamodb.update_item(
                    TableName=self._counters,
                    Key=to_item({"pk": pk, "sk": sk}),
                    UpdateExpression=update,
                    ConditionExpression=condition + (">= :least" if keep_due else "< :least"),
                    ExpressionAttributeValues=to_item(values),
                )
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code == "ConditionalCheckFailedException":
                    return False
                if code != "TransactionConflictException" or attempt == _CONFLICT_ATTEMPTS - 1:
                    raise
                # The session-worker counts in transactions on the same item.
                await asyncio.sleep(random.uniform(0, 0.05 * 2**attempt))
            else:
                return True
        raise AssertionError("unreachable")

    async def _query(self, request: dict[str, Any], values: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        pages = self._dynamodb.get_paginator("query").paginate(
            **request, ExpressionAttributeValues=to_item(values)
        )
        async for page in pages:
            for item in page["Items"]:
                yield from_item(item)


def _due_key(run: Run) -> str:
    return f"{run.folder}due.json"
