"""The DynamoDB in memory and the emulator: what the engine relies on holds in both."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from botocore.exceptions import ClientError

from benchmarks.memory_dynamodb import MAX_ITEM_BYTES, MAX_TRANSACTION_ITEMS, MemoryDynamoDb
from kinstream.aws import AwsClients
from kinstream.dynamo import from_item, to_item
from kinstream.resources import INDEX_DUE, INDEX_PENDING, INDEX_TREND, TABLE_COUNTERS, TABLE_OUTBOX
from kinstream.settings import CoreSettings
from kinstream_devkit.provision import provision

NEW = "attribute_not_exists(pk)"


@pytest.fixture(scope="module")
def settings(endpoint: str) -> CoreSettings:
    settings = CoreSettings(name_prefix=f"t{uuid.uuid4().hex[:12]}", aws_endpoint_url=endpoint)
    provision(settings, [])
    return settings


class Table:
    """One table, and partition keys that no other test uses."""

    def __init__(self, client: Any, name: str, outbox: str) -> None:
        self.client = client
        self.name = name
        self.outbox = outbox
        self._mark = uuid.uuid4().hex

    def key(self, sk: str = "1", pk: str = "p") -> dict[str, str]:
        return {"pk": f"{pk}-{self._mark}", "sk": sk}

    def put(self, sk: str = "1", *, condition: str = "", version: int = 0, **values: Any) -> dict[str, Any]:
        request: dict[str, Any] = {"TableName": self.name, "Item": to_item(self.key(sk) | values)}
        if condition:
            request |= {"ConditionExpression": condition, "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
        if version:
            request["ExpressionAttributeValues"] = to_item({":version": version})
        return {"Put": request}

    def update(self, expression: str, sk: str = "1", condition: str = "", **values: Any) -> dict[str, Any]:
        request: dict[str, Any] = {
            "TableName": self.name,
            "Key": to_item(self.key(sk)),
            "UpdateExpression": expression,
        }
        if values:
            request["ExpressionAttributeValues"] = to_item({f":{k}": v for k, v in values.items()})
        return {"Update": request | ({"ConditionExpression": condition} if condition else {})}

    async def commit(self, *writes: dict[str, Any], token: str | None = None) -> None:
        extra = {"ClientRequestToken": token} if token else {}
        await self.client.transact_write_items(TransactItems=list(writes), **extra)

    async def refusal(self, *writes: dict[str, Any]) -> dict[str, Any]:
        with pytest.raises(ClientError) as refused:
            await self.commit(*writes)
        return dict(refused.value.response)

    async def row(self, sk: str = "1") -> dict[str, Any]:
        """An item without its key; empty where there is none."""
        answer = await self.client.get_item(
            TableName=self.name, Key=to_item(self.key(sk)), ConsistentRead=True
        )
        return {k: v for k, v in from_item(answer.get("Item", {})).items() if k not in {"pk", "sk"}}

    async def query(self, **request: Any) -> list[dict[str, Any]]:
        """All pages."""
        rows: list[dict[str, Any]] = []
        while True:
            answer = await self.client.query(**({"TableName": self.name} | request))
            rows += map(from_item, answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return rows
            request["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


@pytest.fixture(params=["memory", "emulator"])
async def table(request: pytest.FixtureRequest, settings: CoreSettings) -> AsyncIterator[Table]:
    names = settings.names.of(TABLE_COUNTERS), settings.names.of(TABLE_OUTBOX)
    if request.param == "memory":
        yield Table(MemoryDynamoDb(), *names)
    else:
        async with AwsClients(settings) as aws:
            yield Table(await aws.open("dynamodb"), *names)


async def test_a_put_on_condition_of_its_absence_happens_once(table: Table):
    await table.commit(table.put(condition=NEW, n=1))
    response = await table.refusal(table.put(condition=NEW, n=2))
    assert response["Error"]["Code"] == "TransactionCanceledException"
    (reason,) = response["CancellationReasons"]
    assert reason["Code"] == "ConditionalCheckFailed"
    assert from_item(reason["Item"]) == table.key() | {"n": 1}
    assert await table.row() == {"n": 1}


async def test_a_put_on_condition_of_a_version_needs_that_very_version(table: Table):
    await table.commit(table.put(n=1))
    stale = table.put(condition="n = :version", version=2, n=3)
    assert (await table.refusal(stale))["CancellationReasons"][0]["Code"] == "ConditionalCheckFailed"
    await table.commit(table.put(condition="n = :version", version=1, n=2))
    assert await table.row() == {"n": 2}


async def test_a_version_that_is_not_there_meets_no_condition_and_brings_no_item(table: Table):
    (reason,) = (await table.refusal(table.put(condition="n = :version", version=1)))["CancellationReasons"]
    assert (reason["Code"], "Item" in reason) == ("ConditionalCheckFailed", False)


async def test_a_transaction_happens_whole_or_not_at_all(table: Table):
    await table.commit(table.put("taken", n=1))
    refused = await table.refusal(
        table.put("new", n=1), table.update("ADD n :one", "counter", one=1), table.put("taken", condition=NEW)
    )
    codes = [reason.get("Code", "None") for reason in refused["CancellationReasons"]]
    assert codes == ["None", "None", "ConditionalCheckFailed"]
    assert [await table.row(sk) for sk in ("new", "counter", "taken")] == [{}, {}, {"n": 1}]
    await table.commit(table.put("new", n=1), table.update("ADD n :one", "counter", one=1))
    assert [await table.row(sk) for sk in ("new", "counter")] == [{"n": 1}, {"n": 1}]


async def test_every_failed_condition_is_told_each_at_its_place(table: Table):
    await table.commit(table.put("a", n=1), table.put("c", n=3))
    refused = await table.refusal(*(table.put(sk, condition=NEW) for sk in "abc"))
    found = [from_item(reason.get("Item", {})).get("n") for reason in refused["CancellationReasons"]]
    assert found == [1, None, 3]


async def test_a_condition_with_or_holds_where_the_attribute_is_absent_or_small(table: Table):
    absent_or_small = "attribute_not_exists(n) OR n < :limit"
    for _ in range(2):
        await table.commit(table.update("ADD n :one", condition=absent_or_small, one=1, limit=2))
    refused = await table.refusal(table.update("ADD n :one", condition=absent_or_small, one=1, limit=2))
    assert refused["CancellationReasons"][0]["Code"] == "ConditionalCheckFailed"
    await table.commit(table.update("ADD n :one", condition="n >= :limit", one=1, limit=2))
    assert await table.row() == {"n": 3}


async def test_add_counts_from_nothing_below_zero_and_exactly(table: Table):
    for amount in (-3, 1, 2**60):
        await table.commit(table.update("ADD n :by, part :half", by=amount, half=0.5))
    assert await table.row() == {"n": 2**60 - 2, "part": 1.5}


async def test_add_unites_number_sets(table: Table):
    await table.commit(table.update("ADD members :some, n :one", some={1, 70}, one=1))
    await table.commit(table.update("ADD members :some, n :one", some={70, 9}, one=1))
    assert await table.row() == {"members": {1, 9, 70}, "n": 2}


async def test_if_not_exists_keeps_the_first_value_and_set_the_last(table: Table):
    expression = "SET first_n = if_not_exists(first_n, :n), last_n = :n"
    for number in (1, 2):
        await table.commit(table.update(expression, n=number))
    assert await table.row() == {"first_n": 1, "last_n": 2}


async def test_remove_takes_an_attribute_and_leaves_the_others(table: Table):
    await table.commit(table.put(one=1, other=2))
    await table.client.update_item(**table.update("REMOVE one SET third = :n", n=3)["Update"])
    assert await table.row() == {"other": 2, "third": 3}


async def test_a_put_replaces_the_whole_item(table: Table):
    await table.commit(table.put(one=1))
    await table.client.put_item(**table.put(other=2)["Put"])
    assert await table.row() == {"other": 2}


async def test_a_single_write_whose_condition_fails_is_refused_by_its_own_code(table: Table):
    await table.commit(table.put(n=1))
    with pytest.raises(ClientError) as refused:
        await table.client.put_item(**table.put(condition=NEW, n=2)["Put"])
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"
    assert await table.row() == {"n": 1}


async def test_a_transaction_sent_again_under_its_token_does_not_happen_twice(table: Table):
    token = uuid.uuid4().hex
    for _ in range(2):
        await table.commit(table.update("ADD n :one", one=1), token=token)
    assert await table.row() == {"n": 1}


async def test_a_transaction_holds_a_hundred_items_and_no_more(table: Table):
    writes = [table.put(str(number)) for number in range(MAX_TRANSACTION_ITEMS + 1)]
    assert (await table.refusal(*writes))["Error"]["Code"] == "ValidationException"
    assert await table.query(**of_partition(table)) == []
    await table.commit(*writes[:-1])
    assert len(await table.query(**of_partition(table))) == MAX_TRANSACTION_ITEMS


async def test_a_transaction_writes_an_item_once(table: Table):
    refused = await table.refusal(table.put(n=1), table.update("ADD n :one", one=1))
    assert refused["Error"]["Code"] == "ValidationException"


async def test_an_item_holds_400_kilobytes_with_its_names(table: Table):
    rest = sum(len(name) + len(value) for name, value in table.key().items()) + len("b")
    await table.commit(table.put(b=b"x" * (MAX_ITEM_BYTES - rest)))
    refused = await table.refusal(table.put(b=b"x" * (MAX_ITEM_BYTES - rest + 1)))
    assert refused["Error"]["Code"] == "ValidationException"


async def test_an_update_that_makes_an_item_too_big_cancels_the_whole(table: Table):
    await table.commit(table.put("big", b=b"x" * (MAX_ITEM_BYTES - 200)))
    refused = await table.refusal(
        table.put("other", n=1), table.update("SET more = :more", "big", more="x" * 300)
    )
    assert refused["Error"]["Code"] == "TransactionCanceledException"
    assert [reason.get("Code", "None") for reason in refused["CancellationReasons"]] == [
        "None",
        "ValidationError",
    ]
    assert await table.row("other") == {}


@pytest.mark.filterwarnings("ignore:Sending a large body:ResourceWarning")
async def test_a_transaction_holds_four_megabytes_and_no_more(table: Table):
    big = [table.put(str(number), b=b"x" * 390_000) for number in range(11)]
    assert (await table.refusal(*big))["Error"]["Code"] == "ValidationException"
    await table.commit(*big[:7])


async def test_a_batch_removes_25_items_and_no_more_whether_they_are_there_or_not(table: Table):
    await table.commit(*(table.put(str(number), n=number) for number in range(0, 40, 2)))
    removals = [{"DeleteRequest": {"Key": to_item(table.key(str(number)))}} for number in range(26)]
    with pytest.raises(ClientError) as refused:
        await table.client.batch_write_item(RequestItems={table.name: removals})
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    for _ in range(2):
        answer = await table.client.batch_write_item(RequestItems={table.name: removals[:25]})
        assert not answer["UnprocessedItems"]
        assert {row["n"] for row in await table.query(**of_partition(table))} == set(range(26, 40, 2))


async def test_a_read_of_many_takes_a_hundred_keys_and_leaves_out_what_is_not_there(table: Table):
    await table.commit(*(table.put(str(number), n=number) for number in range(0, 100, 2)))
    keys = [to_item(table.key(str(number))) for number in range(101)]
    with pytest.raises(ClientError) as refused:
        await table.client.batch_get_item(RequestItems={table.name: {"Keys": keys}})
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    answer = await table.client.batch_get_item(RequestItems={table.name: {"Keys": keys[:100]}})
    assert {from_item(item)["n"] for item in answer["Responses"][table.name]} == set(range(0, 100, 2))


def of_partition(table: Table) -> dict[str, Any]:
    return {
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": to_item({":pk": table.key()["pk"]}),
    }


async def test_a_query_gives_a_range_in_order_from_either_end_and_page_by_page(table: Table):
    await table.commit(*(table.put(f"{number:02d}") for number in range(10)))
    between = {
        "KeyConditionExpression": "pk = :pk AND sk BETWEEN :start AND :end",
        "ExpressionAttributeValues": to_item({":pk": table.key()["pk"], ":start": "03", ":end": "06"}),
    }
    assert [row["sk"] for row in await table.query(**between)] == ["03", "04", "05", "06"]
    assert [row["sk"] for row in await table.query(**between, Limit=3)] == ["03", "04", "05", "06"]
    newest = await table.client.query(TableName=table.name, **between, ScanIndexForward=False, Limit=2)
    assert [from_item(item)["sk"] for item in newest["Items"]] == ["06", "05"]
    since = {
        "KeyConditionExpression": "pk = :pk AND sk >= :start",
        "ExpressionAttributeValues": to_item({":pk": table.key()["pk"], ":start": "08"}),
    }
    assert [row["sk"] for row in await table.query(**since)] == ["08", "09"]


async def test_an_index_has_the_items_with_its_attributes_alone_in_their_order(table: Table):
    shard = uuid.uuid4().hex
    for number in (3, 1, 2):
        await table.client.update_item(
            **table.update("SET due_shard = :s, due_at_ms = :n", str(number), s=shard, n=number)["Update"]
        )
    await table.commit(table.put("4", due_at_ms=4), table.put("5", trend=1.5, trend_shard=shard))
    due = {
        "IndexName": INDEX_DUE,
        "KeyConditionExpression": "due_shard = :shard",
        "ExpressionAttributeValues": to_item({":shard": shard}),
    }
    assert [row["sk"] for row in await table.query(**due)] == ["1", "2", "3"]
    await table.client.update_item(**table.update("REMOVE due_shard", "2")["Update"])
    assert [row["sk"] for row in await table.query(**due)] == ["1", "3"]
    best = {
        "IndexName": INDEX_TREND,
        "KeyConditionExpression": "trend_shard = :shard",
        "ExpressionAttributeValues": to_item({":shard": shard}),
        "ScanIndexForward": False,
    }
    assert [row["trend"] for row in await table.query(**best)] == [1.5]


async def test_the_pending_index_gives_rows_from_before_a_time_until_they_are_marked(table: Table):
    shard = uuid.uuid4().hex
    for number in range(4):
        row = table.key(str(number)) | {"pending_shard": shard, "created_at_ms": number}
        await table.client.put_item(TableName=table.outbox, Item=to_item(row))
    pending = {
        "TableName": table.outbox,
        "IndexName": INDEX_PENDING,
        "KeyConditionExpression": "pending_shard = :shard AND created_at_ms < :before",
        "ExpressionAttributeValues": to_item({":shard": shard, ":before": 3}),
    }
    assert [row["sk"] for row in await table.query(**pending)] == ["0", "1", "2"]
    marked = table.update("REMOVE pending_shard SET sent_at_ms = :now", "1", now=9)["Update"]
    outbox = {"TableName": table.outbox}
    await table.client.update_item(**(marked | outbox))
    first = await table.client.query(**pending, Limit=1)
    await table.client.update_item(**(table.update("REMOVE pending_shard", "0")["Update"] | outbox))
    rest = await table.query(**pending, Limit=1, ExclusiveStartKey=first["LastEvaluatedKey"])
    assert [row["sk"] for row in rest] == ["2"]
