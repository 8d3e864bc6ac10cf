"""Run rows and the lock, in the recommendations table.

One run an app at a time: the lock row names the run, its owner and the end of the lease. The run's row and
the lock are written in one transaction, and a row moves on only while its owner holds the lock; a trigger
that lost it can change nothing any more.
"""

from dataclasses import asdict, dataclass
from typing import Any

from botocore.exceptions import ClientError

from kinstream import keys
from kinstream.dynamo import from_item, to_item, to_key
from kinstream.errors import KinstreamError
from kinstream.versions import versions_of
from recommender_trigger.domain.failures import Cause
from recommender_trigger.domain.runs import Run, State, Usage

_CONDITION_FAILED = "ConditionalCheckFailedException"
_TRANSACTION_CANCELED = "TransactionCanceledException"
RECENT_RUNS = 12


class LeaseLostError(KinstreamError):
    """Another trigger has taken the run over: stop at once and touch nothing."""


@dataclass(frozen=True, slots=True)
class Lock:
    """The lease of the one run that may be under way."""

    run_id: str
    owner: str
    lease_until_ms: int


class RunStore:
    """Reads and writes runs for one owner (one process of the trigger)."""

    def __init__(self, dynamodb: Any, table: str, owner: str) -> None:
        self._dynamodb = dynamodb
        self._table = table
        self.owner = owner

    async def lock(self, app: str) -> Lock | None:
        """Who holds the app's lock, also where the lease is over."""
        item = await self._get(keys.training_lock(app))
        return Lock(item["run_id"], item["owner"], item["lease_until_ms"]) if item else None

    async def run(self, app: str, run_id: str) -> Run | None:
        """One run."""
        item = await self._get(keys.training_run(app, run_id))
        return _run(item) if item else None

    async def recent(self, app: str, limit: int = RECENT_RUNS) -> list[Run]:
        """The newest runs, newest first; at most `limit`, which is at most some hundreds."""
        answer = await self._dynamodb.query(
            TableName=self._table,
            KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues=to_item({":pk": keys.training_run(app, "")[0]}),
            ScanIndexForward=False,
            Limit=limit,
            ConsistentRead=True,
        )
        return [_run(from_item(item)) for item in answer["Items"]]

    async def request(self, app: str, now_ms: int) -> None:
        """Ask for a run as soon as none is under way, whoever is due. Asking again changes nothing more."""
        put = self._put(keys.training_request(app), {"requested_at_ms": now_ms})["Put"]
        await self._dynamodb.put_item(**put)

    async def requested_at_ms(self, app: str) -> int | None:
        """When a run was asked for that has not begun yet; None where nobody has."""
        item = await self._get(keys.training_request(app))
        return item["requested_at_ms"] if item else None

    async def begin(self, run: Run, lease_until_ms: int, requested_at_ms: int | None = None) -> bool:
        """Write the run, take the free lock and the request that it answers, all or nothing.

        False where somebody was faster. A request that is made again meanwhile stays.
        """
        lock = {"run_id": run.run_id, "owner": self.owner, "lease_until_ms": lease_until_ms}
        parts = [
            self._put(keys.training_lock(run.app), lock, "attribute_not_exists(pk)"),
            self._put(keys.training_run(run.app, run.run_id), asdict(run), "attribute_not_exists(pk)"),
        ]
        if requested_at_ms is not None:
            parts.append(self._take(keys.training_request(run.app), requested_at_ms))
        return await self._transact(*parts)

    async def incumbent(self, app: str) -> str | None:
        """The recipe of the version that is served; None where none is, or it is not known."""
        versions = versions_of(await self._get(keys.recommendation_pointer(app)))
        served = versions.version(versions.run_id)
        return served.recipe if served else None

    async def take_over(self, app: str, seen: Lock, lease_until_ms: int) -> bool:
        """Become the owner of a run whose lease is over. False where somebody was faster."""
        return await self._extend(app, seen.run_id, seen.owner, lease_until_ms, seen.lease_until_ms)

    async def renew(self, run: Run, lease_until_ms: int) -> None:
        """Keep the lease; LeaseLostError where another trigger has it."""
        if not await self._extend(run.app, run.run_id, self.owner, lease_until_ms):
            raise LeaseLostError(run.run_id)

    async def save(self, run: Run) -> None:
        """Write the run's new state; LeaseLostError where another trigger has the lock."""
        if not await self._transact(
            self.lock_check(run), self._put(keys.training_run(run.app, run.run_id), asdict(run))
        ):
            raise LeaseLostError(run.run_id)

    async def release(self, run: Run) -> None:
        """Give the lock back, when the run has ended and nothing is left to do for it."""
        try:
            await self._dynamodb.delete_item(
                TableName=self._table,
                Key=to_key(keys.training_lock(run.app)),
                **self._mine(run.run_id, self.owner),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] != _CONDITION_FAILED:
                raise

    def lock_check(self, run: Run) -> dict[str, Any]:
        """A part of a transaction that fails it where this owner has not the run's lock any more."""
        return {
            "ConditionCheck": {
                "TableName": self._table,
                "Key": to_key(keys.training_lock(run.app)),
                **self._mine(run.run_id, self.owner),
            }
        }

    async def _extend(
        self, app: str, run_id: str, owner: str, lease_until_ms: int, seen_until_ms: int | None = None
    ) -> bool:
        condition = self._mine(run_id, owner)
        values = condition["ExpressionAttributeValues"] | to_item(
            {":me": self.owner, ":until": lease_until_ms}
        )
        if seen_until_ms is not None:
            condition["ConditionExpression"] += " AND lease_until_ms = :seen"
            values |= to_item({":seen": seen_until_ms})
        try:
            await self._dynamodb.update_item(
                TableName=self._table,
                Key=to_key(keys.training_lock(app)),
                UpdateExpression="SET #owner = :me, lease_until_ms = :until",
                **(condition | {"ExpressionAttributeValues": values}),
            )
        except ClientError as error:
            if error.response["Error"]["Code"] == _CONDITION_FAILED:
                return False
            raise
        return True

    async def _get(self, key: keys.Key) -> dict[str, Any]:
        answer = await self._dynamodb.get_item(TableName=self._table, Key=to_key(key), ConsistentRead=True)
        return from_item(answer.get("Item", {}))

    async def _transact(self, *parts: dict[str, Any]) -> bool:
        try:
            await self._dynamodb.transact_write_items(TransactItems=list(parts))
        except ClientError as error:
            if is_refused(error):
                return False
            raise
        return True

    def _put(self, key: keys.Key, values: dict[str, Any], condition: str | None = None) -> dict[str, Any]:
        put = {"TableName": self._table, "Item": to_item({"pk": key[0], "sk": key[1], **values})}
        return {"Put": put | ({"ConditionExpression": condition} if condition else {})}

    def _take(self, key: keys.Key, requested_at_ms: int) -> dict[str, Any]:
        delete = {"TableName": self._table, "Key": to_key(key)}
        condition = {
            "ConditionExpression": "requested_at_ms = :seen",
            "ExpressionAttributeValues": to_item({":seen": requested_at_ms}),
        }
        return {"Delete": delete | condition}

    @staticmethod
    def _mine(run_id: str, owner: str) -> dict[str, Any]:
        return {
            "ConditionExpression": "run_id = :run AND #owner = :owner",
            "ExpressionAttributeNames": {"#owner": "owner"},
            "ExpressionAttributeValues": to_item({":run": run_id, ":owner": owner}),
        }


def is_refused(error: ClientError) -> bool:
    """Whether a transaction failed on a condition, and not on a conflict or on its way."""
    if error.response["Error"]["Code"] != _TRANSACTION_CANCELED:
        return False
    reasons = error.response.get("CancellationReasons", [])
    return any(reason.get("Code") == "ConditionalCheckFailed" for reason in reasons)


def _run(item: dict[str, Any]) -> Run:
    fields = {name: value for name, value in item.items() if name in Run.__dataclass_fields__}
    cause, usage = item.get("cause"), item.get("usage")
    return Run(
        **fields
        | {
            "state": State(item["state"]),
            "avoid": tuple(item.get("avoid", ())),
            "cause": Cause(cause) if cause else None,
            "usage": Usage(**usage) if usage else None,
        }
    )
