"""The few things that the trigger does with S3."""

from collections.abc import AsyncIterator
from typing import Any

import aiohttp
from botocore.exceptions import ClientError

from kinstream.errors import PermanentError, RetryableError


async def keys_under(s3: Any, bucket: str, prefix: str) -> AsyncIterator[str]:
    """Keys of the objects under a prefix, in order."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    async for page in pages:
        for entry in page.get("Contents", []):
            yield entry["Key"]


async def read_object(s3: Any, bucket: str, key: str) -> bytes:
    """An object's bytes; PermanentError where there is none, RetryableError where the transfer broke."""
    try:
        answer = await s3.get_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
            raise PermanentError(f"s3://{bucket}/{key} is missing") from error
        raise
    try:
        async with answer["Body"] as body:
            content: bytes = await body.read()
            return content
    except aiohttp.ClientError as error:
        raise RetryableError(f"the connection to S3 broke: {type(error).__name__}") from error
