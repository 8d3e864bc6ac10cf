"""The DynamoDB in memory: conditions hold or nothing is written, updates add and set."""

import pytest
from botocore.exceptions import ClientError

from benchmarks.memory_dynamodb import MemoryDynamoDb
from kinstream.dynamo import from_item, to_item

KEY = to_item({"pk": "p", "sk": "s"})


def _put(values, **condition):
    return {"Put": {"TableName": "t", "Item": KEY | to_item(values), **condition}}


def _item(database):
    return from_item(database.handle("GetItem", {"TableName": "t", "Key": KEY})["Item"])


async def test_a_failed_condition_cancels_the_whole_transaction_and_tells_the_item():
    database = MemoryDynamoDb()
    new = _put({"version": 1}, ConditionExpression="attribute_not_exists(pk)")
    await database.transact_write_items(TransactItems=[new])
    other = {"Put": {"TableName": "t", "Item": to_item({"pk": "q", "sk": "s"})}}
    again = _put({"version": 1}, ConditionExpression="attribute_not_exists(pk)")
    again["Put"]["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
    with pytest.raises(ClientError) as refused:
        await database.transact_write_items(TransactItems=[other, again])
    none, failed = refused.value.response["CancellationReasons"]
    assert none == {"Code": "None"}
    assert failed["Code"] == "ConditionalCheckFailed"
    assert failed["Item"]["version"] == {"N": "1"}
    assert "Item" not in database.handle("GetItem", {"TableName": "t", "Key": other["Put"]["Item"]})


async def test_updates_add_numbers_unite_sets_and_set_once():
    database = MemoryDynamoDb()
    for number in (3, 4):
        await database.update_item(
            TableName="t",
            Key=KEY,
            UpdateExpression="ADD #n0 :v0, viewers :v1 SET first = if_not_exists(first, :v0), latest = :v0",
            ExpressionAttributeNames={"#n0": "views"},
            ExpressionAttributeValues=to_item({":v0": number, ":v1": {number}}),
        )
    assert _item(database) == {
        "pk": "p",
        "sk": "s",
        "views": 7,
        "viewers": {3, 4},
        "first": 3,
        "latest": 4,
    }


async def test_every_write_is_heard_with_the_item_before_and_after():
    heard = []
    database = MemoryDynamoDb(lambda *write: heard.append(write))
    await database.transact_write_items(TransactItems=[_put({"version": 1})])
    await database.transact_write_items(TransactItems=[_put({"version": 2})])
    assert [
        (before and before["version"], after["version"], inside) for _, before, after, inside in heard
    ] == [
        (None, {"N": "1"}, True),
        ({"N": "1"}, {"N": "2"}, True),
    ]
