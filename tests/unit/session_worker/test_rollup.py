"""The roll-up of the journal, against a DynamoDB in memory that is now and then busy."""

from collections.abc import Mapping
from random import Random
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks.memory_dynamodb import MemoryDynamoDb
from kinstream import keys
from kinstream.dynamo import from_item, to_item
from kinstream.errors import PermanentError, RetryableError
from session_worker.domain.sums import Sums, add_up, written_down
from session_worker.engine.rollup import RollUp

TABLE = "t-counters"
SLOT = 5
NOW_MS = 4_000_000_000_000


class BusyDynamoDb(MemoryDynamoDb):
    """Refuses a share of the updates, as if other transactions were under way, and all of one counter."""

    def __init__(self, share: float, unholdable: str = "") -> None:
        super().__init__()
        self._share, self._unholdable = share, unholdable
        self._random = Random(1)
        self.updates = 0

    async def update_item(self, **request: Any) -> dict[str, Any]:
        self.updates += 1
        if self._random.random() < self._share:
            raise refusal("TransactionConflictException")
        if request["Key"]["pk"]["S"] == self._unholdable:
            raise refusal("ValidationException")
        return await super().update_item(**request)


def refusal(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "UpdateItem")


async def refused(**_: Any) -> dict[str, Any]:
    raise refusal("ProvisionedThroughputExceededException")


def roll_up(client: MemoryDynamoDb, slot: int = SLOT, worker: str = "w", now_ms: int = NOW_MS) -> RollUp:
    return RollUp(client, TABLE, slot, worker=worker, interval_seconds=1, now_ms=lambda: now_ms)


def write(client: MemoryDynamoDb, name: str, sums: Mapping[str, Sums], slot: int = SLOT) -> None:
    pk, sk = keys.journal_entry(slot, NOW_MS - 60_000, name)
    item = to_item({"pk": pk, "sk": sk, "sums": written_down(sums)})
    client.handle("PutItem", {"TableName": TABLE, "Item": item})


def shown(client: MemoryDynamoDb) -> dict[str, Any]:
    """Views by counter."""
    rows = map(from_item, client.items(TABLE))
    return {row["pk"]: row["views"] for row in rows if row["sk"] == "total"}


def entries(client: MemoryDynamoDb) -> list[dict[str, Any]]:
    return [row for row in map(from_item, client.items(TABLE)) if "sums" in row]


async def test_batch_of_many_counters_ends_though_every_tenth_write_meets_another_transaction():
    client = BusyDynamoDb(share=0.1)
    names = [f"demo#content#{number}" for number in range(1_000)]
    for number in range(2):
        write(client, str(number), {name: Sums({"views": 1}) for name in names})
    await roll_up(client).run()
    assert shown(client) == dict.fromkeys(names, 2)
    assert entries(client) == []
    assert client.updates < 1_300


async def test_trying_again_is_for_the_counters_that_failed_alone():
    client = BusyDynamoDb(share=0.8)
    names = [f"demo#content#{number}" for number in range(60)]
    write(client, "1", {name: Sums({"views": 1}) for name in names})
    worker, runs = roll_up(client), 0
    while entries(client):
        runs += 1
        try:
            await worker.run()
        except ClientError:
            continue
    assert runs < 30
    assert shown(client) == dict.fromkeys(names, 1)


async def test_what_a_counter_cannot_hold_is_kept_and_stops_no_other():
    client = BusyDynamoDb(share=0, unholdable="demo#content#full")
    write(client, "1", {"demo#content#full": Sums({"views": 3}), "demo#content#other": Sums({"views": 1})})
    await roll_up(client).run()
    assert shown(client) == {"demo#content#other": 1}
    (kept,) = [row for row in map(from_item, client.items(TABLE)) if "refused" in row]
    assert add_up([kept["refused"]]) == {"demo#content#full": Sums({"views": 3})}


async def test_what_a_dead_worker_left_is_added_by_others_though_one_slot_fails():
    client = MemoryDynamoDb()
    for slot in range(keys.CONTENT_SLOTS):
        write(client, "1", {f"demo#content#s#{slot}": Sums({"views": 1})}, slot)
    pk, sk = keys.journal_entry(2, NOW_MS - 60_000, "unreadable")
    item = to_item({"pk": pk, "sk": sk, "sums": b"nothing that anybody wrote"})
    client.handle("PutItem", {"TableName": TABLE, "Item": item})
    with pytest.raises(RetryableError, match="run the version that wrote it"):
        await roll_up(client).sweep()
    assert set(shown(client)) == {
        f"demo#content#s#{slot}" for slot in set(range(keys.CONTENT_SLOTS)) - {2, SLOT}
    }


async def test_batch_that_was_taken_up_is_left_to_who_did():
    client = BusyDynamoDb(share=1)
    write(client, "1", {"demo#content#s": Sums({"views": 1})})
    with pytest.raises(ClientError):
        await roll_up(client, worker="first").run()
    client._share = 0
    late = NOW_MS + 60_000
    second, third = (roll_up(client, worker=name, now_ms=late) for name in ("second", "third"))
    batch = await second._batch(SLOT)
    assert await second._take_up(SLOT, batch)
    assert not await third._take_up(SLOT, batch)


async def test_age_is_that_of_the_oldest_entry_until_it_is_added_and_grows_while_nothing_can_be_seen():
    client, clock = BusyDynamoDb(share=1), [NOW_MS]
    worker = RollUp(client, TABLE, SLOT, worker="w", interval_seconds=1, now_ms=lambda: clock[0])
    assert worker.age_seconds == 0
    write(client, "1", {"demo#content#s": Sums({"views": 1})})
    with pytest.raises(ClientError):
        await worker.run()
    assert worker.age_seconds == 60
    clock[0] += 5_000
    with pytest.raises(ClientError):
        await worker.run()
    assert worker.age_seconds == 65
    client._share = 0
    await worker.run()
    assert worker.age_seconds == 0
    client.query = client.get_item = refused  # type: ignore[method-assign]
    clock[0] += 300_000
    with pytest.raises(ClientError):
        await worker.run()
    assert worker.age_seconds == 300


async def test_age_counts_what_another_slot_holds_and_nobody_can_add():
    client, clock = BusyDynamoDb(share=1), [NOW_MS]
    worker = RollUp(client, TABLE, SLOT, worker="w", interval_seconds=1, now_ms=lambda: clock[0])
    write(client, "1", {"demo#content#s": Sums({"views": 1})}, slot=SLOT + 1)
    with pytest.raises(ClientError):
        await worker.sweep()
    await worker.run()
    assert worker.age_seconds == 60
    client._share = 0
    clock[0] += 10_000
    # The first ends the batch, the second sees that nothing is left behind it.
    await worker.sweep()
    await worker.sweep()
    await worker.run()
    assert worker.age_seconds == 0


@pytest.mark.parametrize("amount", [1.5, 2**63])
def test_sums_that_could_not_be_read_again_are_not_written_down(amount: Any):
    with pytest.raises(PermanentError, match="whole numbers"):
        written_down({"demo#content#s": Sums({"views": amount})})
