"""The engine's own client and aiobotocore's: the same answers and errors from the same DynamoDB."""

import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.exceptions import ClientError, EndpointConnectionError

from kinstream.aws import AwsClients
from kinstream.dynamo import from_item, to_item
from kinstream.dynamodb_http import DynamoDbHttp
from kinstream.resources import TABLE_LEDGER
from kinstream.settings import CoreSettings
from kinstream_devkit.provision import provision

ROW = {"pk": "p", "sk": "1", "entries": b"\x00\xff\x7f", "version": 1, "names": {"a", "b"}, "big": 2**60}


@pytest.fixture(scope="module")
def settings(endpoint: str) -> CoreSettings:
    settings = CoreSettings(name_prefix=f"t{uuid.uuid4().hex[:12]}", aws_endpoint_url=endpoint)
    provision(settings, [])
    return settings


@pytest.fixture(params=["aiobotocore", "own"])
async def client(request: pytest.FixtureRequest, settings: CoreSettings) -> AsyncIterator[Any]:
    async with AwsClients(settings) as aws, aiohttp.ClientSession() as http:
        if request.param == "aiobotocore":
            yield await aws.open("dynamodb")
        else:
            yield DynamoDbHttp.of(http, settings, 10)


def put(table: str, row: dict[str, Any], **condition: Any) -> dict[str, Any]:
    return {"Put": {"TableName": table, "Item": to_item(row), **condition}}


async def test_values_of_every_kind_come_back_as_they_were(client, settings):
    table, row = settings.names.of(TABLE_LEDGER), ROW | {"pk": uuid.uuid4().hex}
    key = to_item({"pk": row["pk"], "sk": "1"})
    await client.put_item(TableName=table, Item=to_item(row))
    assert from_item((await client.get_item(TableName=table, Key=key, ConsistentRead=True))["Item"]) == row
    asked = {table: {"Keys": [key, to_item({"pk": row["pk"], "sk": "2"})]}}
    answer = await client.batch_get_item(RequestItems=asked)
    assert [from_item(item) for item in answer["Responses"][table]] == [row]
    await client.update_item(
        TableName=table,
        Key=key,
        UpdateExpression="ADD version :one",
        ExpressionAttributeValues=to_item({":one": 1}),
    )
    page = await client.query(
        TableName=table,
        KeyConditionExpression="pk = :pk",
        ExpressionAttributeValues=to_item({":pk": row["pk"]}),
    )
    assert [from_item(item) for item in page["Items"]] == [row | {"version": 2}]
    await client.delete_item(TableName=table, Key=key)
    assert "Item" not in await client.get_item(TableName=table, Key=key)


async def test_a_refused_transaction_says_why_item_by_item(client, settings):
    table, row = settings.names.of(TABLE_LEDGER), ROW | {"pk": uuid.uuid4().hex}
    other = {**row, "sk": "2"}
    await client.transact_write_items(TransactItems=[put(table, row)])
    condition = {
        "ConditionExpression": "attribute_not_exists(pk)",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
    with pytest.raises(ClientError) as refusal:
        await client.transact_write_items(TransactItems=[put(table, other), put(table, row, **condition)])
    response = refusal.value.response
    assert response["Error"]["Code"] == "TransactionCanceledException"
    first, second = response["CancellationReasons"]
    assert first.get("Code") in {None, "None"}
    assert second["Code"] == "ConditionalCheckFailed"
    assert from_item(second["Item"]) == row
    assert "Item" not in await client.get_item(TableName=table, Key=to_item({"pk": row["pk"], "sk": "2"}))


async def test_a_request_that_is_none_is_refused_by_its_code(client):
    with pytest.raises(ClientError) as refusal:
        await client.get_item(TableName="there-is-no-such-table", Key=to_item({"pk": "p", "sk": "1"}))
    assert refusal.value.response["Error"]["Code"] == "ResourceNotFoundException"


async def test_a_dynamodb_that_is_away_is_an_error_that_the_engine_knows():
    away = CoreSettings(aws_endpoint_url="http://127.0.0.1:9")
    async with aiohttp.ClientSession() as http:
        with pytest.raises(EndpointConnectionError):
            await DynamoDbHttp.of(http, away, 0.5).get_item(TableName="t", Key={})


@pytest.mark.parametrize("kind", ["aiobotocore", "own"])
@pytest.mark.parametrize(
    ("status", "code"),
    [
        (503, "ServiceUnavailable"),
        (500, "com.amazonaws.dynamodb.v20120810#InternalServerError"),
        (400, "com.amazonaws.dynamodb.v20120810#ThrottlingException"),
    ],
)
async def test_what_will_pass_is_tried_again(kind: str, status: int, code: str):
    answers = [web.json_response({"__type": code}, status=status), web.json_response({"Item": {}})]

    async def answer(_: web.Request) -> web.Response:
        return answers.pop(0)

    app = web.Application()
    app.router.add_post("/", answer)
    async with TestServer(app) as server:
        there = CoreSettings(aws_endpoint_url=str(server.make_url("/")).rstrip("/"))
        async with AwsClients(there) as aws, aiohttp.ClientSession() as http:
            client = await aws.open("dynamodb") if kind == "aiobotocore" else DynamoDbHttp.of(http, there, 10)
            assert (await client.get_item(TableName="t", Key={}))["Item"] == {}
    assert answers == []
