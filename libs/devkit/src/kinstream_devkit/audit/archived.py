"""Reads an app's archive, which may be written to and compacted meanwhile.

Compaction writes the file that replaces others before it deletes them. So a file that is gone between the
listing and its reading means only that another listing names the one that has its events: nothing is missed,
and what is read twice is the same event by its identity.
"""

import io
import shutil
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from botocore.exceptions import ClientError

from kinstream.errors import RetryableError
from kinstream.resources import BUCKET_ARCHIVE, Names

_THREADS = 8
_LISTINGS = 20
_DATE = "/dt="
_GONE = ("NoSuchKey", "404")

Progress = Callable[[int, int], None]


class ArchiveReader:
    """The files of one app. `progress(done, in all)` is called for each file that is read."""

    def __init__(self, s3: Any, names: Names, app: str, folder: Path, progress: Progress) -> None:
        self._s3 = s3
        self._bucket = names.of(BUCKET_ARCHIVE)
        self._prefix = f"events/app={app}/"
        self._folder = folder
        self._progress = progress
        self._copies: dict[str, Path] = {}
        self._mentioned: dict[str, tuple[frozenset[str], frozenset[str]]] = {}

    def keys_by_date(self) -> dict[str, list[str]]:
        """Every file that is there now."""
        found: dict[str, list[str]] = defaultdict(list)
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for entry in page.get("Contents", []):
                if entry["Key"].endswith(".parquet"):
                    found[_date_of(entry["Key"])].append(entry["Key"])
        return found

    def copies(self, dates: Collection[str]) -> list[Path]:
        """Copies of the files of these dates, which hold every event that was archived when this began."""
        self._until_all_are_read(dates, self._copies, self._copy)
        return [path for key, path in self._copies.items() if _date_of(key) in dates]

    def mentioned(self, dates: Collection[str]) -> tuple[set[str], set[str]]:
        """(customers, contents) of the counted events of these dates, reading those columns alone."""
        self._until_all_are_read(dates, self._mentioned, self._mentions)
        found = [two for key, two in self._mentioned.items() if _date_of(key) in dates]
        customers = {customer for customers, _ in found for customer in customers}
        return customers, {content for _, contents in found for content in contents}

    def _until_all_are_read(
        self, dates: Collection[str], read: dict[str, Any], read_one: Callable[[str], Any]
    ) -> None:
        for _ in range(_LISTINGS):
            wanted = [
                key for date, of_date in self.keys_by_date().items() if date in dates for key in of_date
            ]
            missing = [key for key in wanted if key not in read]
            if not missing:
                return
            with ThreadPoolExecutor(_THREADS) as pool:
                for done, (key, result) in enumerate(
                    zip(missing, pool.map(read_one, missing), strict=True), 1
                ):
                    if result is not None:
                        read[key] = result
                    self._progress(done, len(missing))
        raise RetryableError("the archive changes faster than it can be read; try again later")

    def _copy(self, key: str) -> Path | None:
        path = self._folder / key.removeprefix(self._prefix)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            body = self._s3.get_object(Bucket=self._bucket, Key=key)["Body"]
        except ClientError as error:
            _raise_unless_gone(error)
            return None
        with path.open("wb") as file, body:
            shutil.copyfileobj(body, file)
        return path

    def _mentions(self, key: str) -> tuple[frozenset[str], frozenset[str]] | None:
        try:
            size_bytes = self._s3.head_object(Bucket=self._bucket, Key=key)["ContentLength"]
            with io.BufferedReader(_Ranges(self._s3, self._bucket, key, size_bytes)) as file:
                table = pq.read_table(file, columns=["customer_id", "content_id"], filters=_COUNTED)
        except ClientError as error:
            _raise_unless_gone(error)
            return None
        customers, contents = (frozenset(column.unique().to_pylist()) for column in table.columns)
        return customers, contents - {None}


_COUNTED = [("counted", "=", True)]


class _Ranges(io.RawIOBase):
    """An object that is read in parts: of a Parquet file the footer and the columns that are asked for."""

    def __init__(self, s3: Any, bucket: str, key: str, size_bytes: int) -> None:
        super().__init__()
        self._s3 = s3
        self._where: Mapping[str, str] = {"Bucket": bucket, "Key": key}
        self._size_bytes = size_bytes
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size_bytes}[whence]
        self._at = base + offset
        return self._at

    def readinto(self, buffer: Any) -> int:
        last = min(self._at + len(buffer), self._size_bytes) - 1
        if last < self._at:
            return 0
        body = self._s3.get_object(**self._where, Range=f"bytes={self._at}-{last}")["Body"].read()
        buffer[: len(body)] = body
        self._at += len(body)
        return len(body)


def _date_of(key: str) -> str:
    return key.rpartition(_DATE)[2].partition("/")[0]


def _raise_unless_gone(error: ClientError) -> None:
    if error.response["Error"]["Code"] not in _GONE:
        raise error
