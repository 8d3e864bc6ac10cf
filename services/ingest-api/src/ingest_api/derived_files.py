"""The files that were made from uploads, as this service reads them from S3 and lets clients read them."""

import logging
from collections.abc import AsyncGenerator
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from ingest_api.errors import ApiError, not_found, unavailable
from ingest_api.url_signing import MAX_LIFE_SECONDS

log = logging.getLogger(__name__)

_PIECE_BYTES = 64 * 1024
_MAX_TEXT_BYTES = 4 * 1024 * 1024
"""Far above the playlist of a day of video."""


class Presigner(Protocol):
    """What this needs of boto3's S3 client; signing makes no call."""

    def generate_presigned_url(self, method: str, **options: Any) -> str:
        """A URL."""


class DerivedFiles:
    """One bucket. `s3` is aiobotocore's client."""

    def __init__(self, s3: Any, presigner: Presigner, bucket: str) -> None:
        self._s3 = s3
        self._presigner = presigner
        self._bucket = bucket

    def url(self, object_key: str, life_seconds: float) -> str:
        """Where a client fetches it from the bucket itself, for so long."""
        return self._presigner.generate_presigned_url(
            "get_object",
            Params={"Bucket": self._bucket, "Key": object_key},
            ExpiresIn=int(min(MAX_LIFE_SECONDS, life_seconds)),
        )

    async def text(self, object_key: str) -> str:
        """A text file, whole. ApiError 404 where it is gone, 503 where S3 does not answer."""
        size_bytes, pieces = await self.open(object_key)
        if size_bytes > _MAX_TEXT_BYTES:
            # One that never began would not come to its end.
            await anext(pieces, None)
            await pieces.aclose()
            raise not_found("this file")
        try:
            content = b"".join([piece async for piece in pieces])
        except (BotoCoreError, OSError) as error:
            raise _away() from error
        return content.decode(errors="replace")

    async def open(self, object_key: str) -> tuple[int, AsyncGenerator[bytes, None]]:
        """(bytes, the file in pieces); whoever does not read it to its end closes it. Errors as of `text`."""
        try:
            answer = await self._s3.get_object(Bucket=self._bucket, Key=object_key)
        except ClientError as error:
            raise _lost(error) from error
        except (BotoCoreError, OSError) as error:
            raise _away() from error
        return answer["ContentLength"], _pieces(answer["Body"])


async def _pieces(body: Any) -> AsyncGenerator[bytes, None]:
    try:
        while piece := await body.read(_PIECE_BYTES):
            yield piece
    finally:
        body.close()


def _lost(error: ClientError) -> ApiError:
    code = error.response.get("Error", {}).get("Code")
    if code in ("NoSuchKey", "404"):
        return not_found("this file")
    # To whoever may not list the bucket S3 says 403 of what is gone, as of all else: nothing follows from it.
    log.warning("a file of media cannot be read", extra={"error": code})
    return _away()


def _away() -> ApiError:
    return unavailable("the files of media cannot be read now")
