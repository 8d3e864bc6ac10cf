"""The archive's files: which can be read, which are broken, which are gone.

Spark passes over a file whether it is broken or S3 was away for a moment, and what is lost by that must not
pass for a small archive. So each file that gave fewer rows than it promises is looked at again: its bytes
first, then its rows. One that can be fetched and still not be read is broken; one that is gone was merged
into another that is read as well; one that can be read after all means that the pass was none, and is made
again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple
from urllib.parse import unquote

from py4j.protocol import Py4JJavaError  # type: ignore[import-untyped]
from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame, DataFrameReader, SparkSession
from pyspark.sql import functions as F  # noqa: N812 - Spark's own convention

SCHEMA = (
    "id string, type string, customer_id string, device_id string, occurred_at_ms long, counted boolean, "
    "content_id string"
)
PASSES = 3
"""How often the archive is gone through until nothing was passed over that can be read."""
BROKEN, GONE, WHOLE = "broken", "gone", "whole"
_BUFFER_BYTES = 1 << 20
_MOST_CHARACTERS = 300


class ArchiveError(Exception):
    """Why no model can be learnt."""


class UnreadableArchiveError(ArchiveError):
    """So much of the archive is broken that a model of the rest would mislead."""


class UnreachableArchiveError(ArchiveError):
    """The storage does not give what it holds; a later run may fare better."""


class Passed(NamedTuple):
    """What a pass over all files read, by file."""

    kinds: dict[str, dict[str, int]]
    """Rows by kind."""
    promised: dict[str, int]
    """Rows by what the footers say; files without one are missing."""

    def rows(self, file: str) -> int:
        """How many were read of a file."""
        return sum(self.kinds.get(file, {}).values())


class Read(NamedTuple):
    """What can be learnt from."""

    files: DataFrame
    kinds: dict[str, int]
    """Rows by kind."""
    refused: list[dict[str, Any]]
    """Broken files: name, rows that each promises, rows that were lost."""
    files_in_all: int


def read_files(spark: SparkSession, uri: str, classified: Callable[[DataFrame], DataFrame]) -> Read:
    """Everything under an address but what is broken; nothing of it is passed over in silence later.

    `classified` adds the column `kind`. UnreachableArchiveError where the storage does not give the files.
    """
    # One that is gone later was merged: compaction deletes only what another file that was listed holds.
    spark.conf.set("spark.sql.files.ignoreMissingFiles", "true")
    files = _opened(spark, uri)
    listed = {plain(name): name for name in files.inputFiles()}
    found: dict[str, str] = {}
    trouble: str | None = None
    for _ in range(PASSES):
        _ignore_corrupt_files(spark, ignore=True)
        passed = _pass(files, classified)
        _ignore_corrupt_files(spark, ignore=False)
        trouble = _trouble(spark, listed, passed, found)
        if trouble is None:
            break
    else:
        raise UnreachableArchiveError(trouble)
    broken = sorted(file for file, what in found.items() if what == BROKEN)
    if broken:
        readable = [unquote(name) for file, name in listed.items() if found.get(file, WHOLE) == WHOLE]
        files = _source(spark).parquet(*readable) if readable else files.limit(0)
    kinds: dict[str, int] = {}
    for file, of_file in passed.kinds.items():
        if file not in broken:
            for kind, rows in of_file.items():
                kinds[kind] = kinds.get(kind, 0) + rows
    return Read(files, kinds, [_refused(file, passed.promised.get(file)) for file in broken], len(listed))


def _opened(spark: SparkSession, uri: str) -> DataFrame:
    try:
        return _source(spark).parquet(uri)
    except AnalysisException as error:
        if error.getErrorClass() != "PATH_NOT_FOUND":
            raise
        return spark.createDataFrame([], f"{SCHEMA}, _metadata struct<file_path: string>")


def _source(spark: SparkSession) -> DataFrameReader:
    return spark.read.schema(SCHEMA).option("recursiveFileLookup", True)


def _ignore_corrupt_files(spark: SparkSession, *, ignore: bool) -> None:
    spark.conf.set("spark.sql.files.ignoreCorruptFiles", str(ignore).lower())


def _refused(file: str, rows: int | None) -> dict[str, Any]:
    return {"file": _short(file), "rows": rows, "rows_lost": rows}


def _pass(files: DataFrame, classified: Callable[[DataFrame], DataFrame]) -> Passed:
    named = files.withColumn("file", F.col("_metadata.file_path"))
    # Every column is asked for, so that one that is damaged is found now.
    counted = named.transform(classified).groupBy("kind", "file").agg(F.count("*"), F.count("device_id"))
    kinds: dict[str, dict[str, int]] = {}
    for kind, file, rows, _ in counted.collect():
        kinds.setdefault(plain(file), {})[kind] = rows
    # No column of the data is asked for, so that only footers are read.
    footers = named.groupBy("file").agg(F.count("*")).collect()
    return Passed(kinds, {plain(file): rows for file, rows in footers})


def _trouble(
    spark: SparkSession, listed: Mapping[str, str], passed: Passed, found: dict[str, str]
) -> str | None:
    """Why another pass is needed; None where all that this one lacks is broken, gone or never was.

    `found` remembers what each file that was looked at again is.
    """
    for file, name in sorted(listed.items()):
        promised, rows = passed.promised.get(file), passed.rows(file)
        if file in found or (promised is not None and rows >= promised):
            continue
        try:
            if not _could_be_fetched(spark, name):
                found[file] = GONE
                continue
        except Py4JJavaError as error:
            return f"{_short(file)} cannot be fetched: {error.java_exception.toString()}"[:_MOST_CHARACTERS]
        holds = _rows_of(spark, name)
        if holds is not None and holds != rows:
            return f"{_short(file)} can be read only now and then"
        found[file] = BROKEN if holds is None else WHOLE
    return None


def _could_be_fetched(spark: SparkSession, name: str) -> bool:
    """Fetch all bytes of a file; False where there is none. Py4JJavaError where the storage is in the way."""
    # PySpark has no public way to Hadoop's file systems.
    jvm: Any = spark._jvm  # noqa: SLF001
    path = jvm.org.apache.hadoop.fs.Path(unquote(name))
    system = path.getFileSystem(spark._jsc.hadoopConfiguration())  # noqa: SLF001
    if not system.exists(path):
        return False
    nowhere = jvm.java.io.OutputStream.nullOutputStream()
    jvm.org.apache.hadoop.io.IOUtils.copyBytes(system.open(path), nowhere, _BUFFER_BYTES, True)
    return True


def _rows_of(spark: SparkSession, name: str) -> int | None:
    """How many rows a file holds; None where they cannot be read."""
    try:
        rows = _source(spark).parquet(unquote(name))
        # A sum over all values: each is decoded.
        return int(rows.agg(F.count("*"), F.sum(F.hash(*rows.columns))).collect()[0][0])
    except (Py4JJavaError, PySparkException):
        return None


def _short(file: str) -> str:
    return "/".join(file.rsplit("/", 2)[-2:])


def plain(uri: str) -> str:
    """A file's name without what Spark writes now one way and now another: `file:/` and `file:///`, say."""
    return unquote(uri.partition(":")[2]).lstrip("/")
