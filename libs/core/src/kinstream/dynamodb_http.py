"""The engine's calls to DynamoDB at a fraction of the CPU that a general client spends on them.

The same names, arguments, answers and errors as aiobotocore's client, so that either may be handed down;
only binary values come back as base64 text, which `kinstream.dynamo` reads as well. Whatever is not a hot
call goes through aiobotocore.
"""

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
import msgspec
from botocore.exceptions import ClientError, EndpointConnectionError

from kinstream.aws import CredentialsSource, endpoint
from kinstream.settings import CoreSettings
from kinstream.sigv4 import Credentials, Service, signed_headers

_TARGET = "DynamoDB_20120810."
_CONTENT_TYPE = "application/x-amz-json-1.0"
_ATTEMPTS = 2
_PAUSE_SECONDS = 0.05
_SERVER_ERROR = 500
THROTTLED = frozenset(
    {"ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"}
)
"""Codes by which DynamoDB says that it was asked for too much at once."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


class DynamoDbHttp:
    """Two attempts of `timeout_seconds` each, the second where the first was throttled, failed on DynamoDB's
    side or got no answer.

    ClientError where DynamoDB refuses; EndpointConnectionError, a BotoCoreError, where it does not answer.
    A transaction carries a token, so that its second attempt does not happen twice.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        url: str,
        region: str,
        credentials: Callable[[], Awaitable[Credentials]],
        timeout_seconds: float,
    ) -> None:
        self._http = http
        self._url = url
        self._service = Service("dynamodb", region, url.split("://", 1)[1].split("/", 1)[0])
        self._credentials = credentials
        self._timeout = aiohttp.ClientTimeout(total=timeout_seconds)

    @classmethod
    def of(cls, http: aiohttp.ClientSession, settings: CoreSettings, timeout_seconds: float) -> Self:
        """For the DynamoDB that the settings mean, with the credentials that are found there."""
        url = endpoint("dynamodb", settings)
        return cls(http, url, settings.aws_region, CredentialsSource(settings), timeout_seconds)

    async def transact_write_items(self, **request: Any) -> dict[str, Any]:
        """TransactWriteItems: all of it or nothing."""
        return await self._call("TransactWriteItems", {"ClientRequestToken": uuid.uuid4().hex} | request)

    async def batch_get_item(self, **request: Any) -> dict[str, Any]:
        """BatchGetItem."""
        return await self._call("BatchGetItem", request)

    async def batch_write_item(self, **request: Any) -> dict[str, Any]:
        """BatchWriteItem."""
        return await self._call("BatchWriteItem", request)

    async def get_item(self, **request: Any) -> dict[str, Any]:
        """GetItem."""
        return await self._call("GetItem", request)

    async def query(self, **request: Any) -> dict[str, Any]:
        """Query."""
        return await self._call("Query", request)

    async def put_item(self, **request: Any) -> dict[str, Any]:
        """PutItem."""
        return await self._call("PutItem", request)

    async def update_item(self, **request: Any) -> dict[str, Any]:
        """UpdateItem."""
        return await self._call("UpdateItem", request)

    async def delete_item(self, **request: Any) -> dict[str, Any]:
        """DeleteItem."""
        return await self._call("DeleteItem", request)

    async def _call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        body = _encode(request)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return await self._attempt(operation, body)
            except ClientError as error:
                if attempt == _ATTEMPTS or not _is_passing(error):
                    raise
            except (aiohttp.ClientError, TimeoutError, msgspec.DecodeError) as error:
                if attempt == _ATTEMPTS:
                    raise EndpointConnectionError(endpoint_url=self._url, error=error) from error
            await asyncio.sleep(_PAUSE_SECONDS)
        raise AssertionError("unreachable")

    async def _attempt(self, operation: str, body: bytes) -> dict[str, Any]:
        headers = signed_headers(
            self._service,
            body,
            {"content-type": _CONTENT_TYPE, "x-amz-target": _TARGET + operation},
            await self._credentials(),
            datetime.now(UTC),
        )
        async with self._http.post(self._url, data=body, headers=headers, timeout=self._timeout) as response:
            answer = _decode(await response.read() or b"{}")
        if response.status == 200:
            return answer
        raise _refusal(operation, response.status, answer)


def _refusal(operation: str, status: int, answer: dict[str, Any]) -> ClientError:
    code = str(answer.pop("__type", f"InternalServerError{status}")).rpartition("#")[2]
    message = answer.pop("message", None) or answer.pop("Message", "")
    told: Any = {
        **answer,
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(told, operation)


def _is_passing(error: ClientError) -> bool:
    status = error.response["ResponseMetadata"]["HTTPStatusCode"]
    return status >= _SERVER_ERROR or error.response["Error"]["Code"] in THROTTLED
