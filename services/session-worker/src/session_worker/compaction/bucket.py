"""What compaction does with S3."""

import asyncio
import io
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
from botocore.exceptions import ClientError

from kinstream.errors import RetryableError
from session_worker.domain.compaction import StoredFile

_DELETED_AT_ONCE = 1_000
_COPY_BYTES = 1024 * 1024


class Bucket:
    """The archive's bucket."""

    def __init__(self, s3: Any, name: str) -> None:
        self._s3 = s3
        self._name = name

    async def files(self, prefix: str) -> AsyncIterator[StoredFile]:
        """Files under a prefix."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix)
        async for page in pages:
            for entry in page.get("Contents", []):
                written_at_ms = int(entry["LastModified"].timestamp() * 1000)
                yield StoredFile(entry["Key"], entry["Size"], written_at_ms)

    async def read(self, key: str, path: Path) -> bool:
        """Copy an object to a file; False where there is none."""
        with path.open("wb") as file:
            return await self._copy(key, file)

    async def content(self, key: str) -> bytes | None:
        """A small object's bytes; None where there is none."""
        body = io.BytesIO()
        return body.getvalue() if await self._copy(key, body) else None

    async def _copy(self, key: str, sink: BinaryIO) -> bool:
        try:
            answer = await self._s3.get_object(Bucket=self._name, Key=key)
        except ClientError as error:
            if error.response["Error"]["Code"] in ("NoSuchKey", "404"):
                return False
            raise
        try:
            async with answer["Body"] as body:
                while part := await body.read(_COPY_BYTES):
                    await asyncio.to_thread(sink.write, part)
        except aiohttp.ClientError as error:
            raise RetryableError(f"the connection to S3 broke: {type(error).__name__}") from error
        return True

    async def write(self, key: str, body: bytes | Path) -> None:
        """Store an object, replacing the one that is there."""
        if isinstance(body, bytes):
            await self._s3.put_object(Bucket=self._name, Key=key, Body=body)
        else:
            with body.open("rb") as file:
                await self._s3.put_object(Bucket=self._name, Key=key, Body=file)

    async def delete(self, keys: Iterable[str]) -> None:
        """Delete objects, also those that are gone already. RetryableError where S3 kept one."""
        left = list(keys)
        while left:
            some, left = left[:_DELETED_AT_ONCE], left[_DELETED_AT_ONCE:]
            objects = [{"Key": key} for key in some]
            answer = await self._s3.delete_objects(
                Bucket=self._name, Delete={"Objects": objects, "Quiet": True}
            )
            if answer.get("Errors"):
                raise RetryableError(f"S3 kept {len(answer['Errors'])} files that were to be deleted")
