"""Originals and renditions in S3."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.catalog import Hold, Rendition
from kinstream.catalog.keys import derived_key, original_key
from kinstream.errors import PermanentError
from kinstream.resources import BUCKET_DERIVED, BUCKET_UPLOADS, Names
from media_worker.domain.containment import STORED_TYPES, not_sensible
from media_worker.domain.recipes import Made
from media_worker.sandbox import plain_file

log = logging.getLogger(__name__)

_MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
_CACHING = "private, max-age=86400"
_MOST_DELETED = 1_000
"""Objects that one call deletes."""


class OriginalGoneError(PermanentError):
    """Nobody has the upload any more."""


@dataclass(frozen=True, slots=True)
class Original:
    """An upload. `version` is another one once another file is uploaded in its place."""

    size_bytes: int
    version: str


class Storage:
    """The two buckets.

    Each attempt at a step writes under keys of its own: one that has lost its step and does not know yet
    cannot change what another has stored.
    """

    def __init__(self, s3: Any, names: Names) -> None:
        self._s3 = s3
        self._uploads = names.of(BUCKET_UPLOADS)
        self._derived = names.of(BUCKET_DERIVED)

    def original(self, item: Hold) -> Original:
        """The upload as it is now; OriginalGoneError where it is gone."""
        with _told_if_missing(OriginalGoneError("the uploaded file is gone: upload it again")):
            head = self._s3.head_object(Bucket=self._uploads, Key=original_key(item.app, item.media_id))
        return Original(int(head["ContentLength"]), head["ETag"])

    def fetch_original(self, item: Hold, target: Path) -> None:
        """The upload, as a file; OriginalGoneError where it is gone."""
        with _told_if_missing(OriginalGoneError("the uploaded file is gone: upload it again")):
            self._s3.download_file(self._uploads, original_key(item.app, item.media_id), str(target))

    def fetch(self, made: Rendition, target: Path) -> None:
        """A rendition, as a file; PermanentError where it is gone."""
        with _told_if_missing(PermanentError("the picture that this one is made of is gone")):
            self._s3.download_file(self._derived, made.object_key, str(target))

    def delete_original(self, item: Hold) -> None:
        """The upload is not kept; deleted again, nothing happens."""
        self._s3.delete_object(Bucket=self._uploads, Key=original_key(item.app, item.media_id))

    def store(self, item: Hold, made: Made, folder: Path) -> Rendition:
        """A file of the folder becomes a rendition; PermanentError where it is nothing that is stored."""
        # The file's name is the decoder's word, and a decoder may be in a stranger's hands.
        if made.content_type not in STORED_TYPES:
            raise not_sensible()
        try:
            path = plain_file(folder / Path(made.file_name).name, folder)
        except (OSError, ValueError) as error:
            raise not_sensible() from error
        key = _key(item, path.name)
        self._s3.upload_file(
            str(path),
            self._derived,
            key,
            ExtraArgs={"ContentType": made.content_type, "CacheControl": _CACHING},
        )
        return _rendition(made, key, path.stat().st_size)

    def store_text(self, item: Hold, made: Made, content: bytes) -> Rendition:
        """A small file that was written here."""
        key = _key(item, made.file_name)
        self._s3.put_object(
            Bucket=self._derived,
            Key=key,
            Body=content,
            ContentType=made.content_type,
            CacheControl=_CACHING,
        )
        return _rendition(made, key, len(content))

    def discard(self, stored: Iterable[Rendition]) -> None:
        """Delete what counts for nothing. Where that fails it stays: it is in nobody's way."""
        self._delete([made.object_key for made in stored])

    def discard_earlier(self, item: Hold, stored: Sequence[Rendition]) -> None:
        """Delete what earlier attempts at the step, which can count no more, left of the same files."""
        self._delete(
            [
                _key(replace(item, attempt=attempt), made.file_name)
                for attempt in range(1, item.attempt)
                for made in stored
            ]
        )

    def _delete(self, keys: Sequence[str]) -> None:
        try:
            for one in range(0, len(keys), _MOST_DELETED):
                objects = [{"Key": key} for key in keys[one : one + _MOST_DELETED]]
                told = self._s3.delete_objects(
                    Bucket=self._derived, Delete={"Objects": objects, "Quiet": True}
                )
                if refused := told.get("Errors"):
                    extra = {"error": refused[0].get("Code"), "files": len(refused)}
                    log.warning("files that count for nothing stay", extra=extra)
        except (BotoCoreError, ClientError, OSError) as error:
            log.warning("files that count for nothing stay", extra={"error": type(error).__name__})


@contextmanager
def _told_if_missing(told: PermanentError) -> Iterator[None]:
    """S3 says 404 to whoever may list the bucket; to others it says 403, of which nothing follows."""
    try:
        yield
    except ClientError as error:
        if error.response["Error"]["Code"] in _MISSING:
            raise told from error
        raise


def made_of(rendition: Rendition) -> Made:
    """What was stored, as the rendition's own code knows it."""
    return Made(
        name=rendition.name,
        kind=rendition.kind,
        file_name=rendition.file_name,
        content_type=rendition.content_type,
        width=rendition.width,
        height=rendition.height,
        duration_seconds=rendition.duration_seconds,
        codecs=rendition.codecs,
        detail=rendition.detail,
    )


def _rendition(made: Made, key: str, size_bytes: int) -> Rendition:
    return Rendition(
        name=made.name,
        kind=made.kind,
        object_key=key,
        content_type=made.content_type,
        size_bytes=size_bytes,
        width=made.width,
        height=made.height,
        duration_seconds=made.duration_seconds,
        codecs=made.codecs,
        detail=made.detail,
    )


def _key(item: Hold, file_name: str) -> str:
    return derived_key(item.app, item.media_id, item.step, item.attempt, file_name)
