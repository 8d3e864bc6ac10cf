"""Makes one Parquet file out of several, in little memory however large they are."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_A_GROUP = 100_000
_ROWS_AT_ONCE = 10_000
_BYTES_A_GROUP = 64 * 1024 * 1024
_ORDER = [
    ("customer_id", "ascending"),
    ("device_id", "ascending"),
    ("occurred_at_ms", "ascending"),
    ("id", "ascending"),
]


class UnmergeableError(Exception):
    """Files that would not become one without a loss."""


def is_parquet(file: Path) -> bool:
    """Whether a file can be read."""
    try:
        pq.read_metadata(file)
    except (pa.ArrowException, OSError):
        return False
    return True


def merge_files(sources: Sequence[Path], target: Path) -> int:
    """Write every row of the sources into the target; how many there are.

    Rows are kept as they are, repetitions too: readers drop these. A row group is in order of customer and
    time, so that a reader who wants one customer skips most pages. Sources may differ in columns: what a
    file lacks is null. UnmergeableError where a source's data is broken, or the columns' types do not agree.
    """
    try:
        schema = _common_schema([pq.read_schema(source) for source in sources])
        with pq.ParquetWriter(target, schema, compression="zstd") as writer:
            for group in _groups(sources, schema):
                writer.write_table(group.sort_by(_ORDER), row_group_size=group.num_rows)
        wanted, rows = sum(map(_rows, sources)), _rows(target)
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the disk's own trouble, and none of the files'
        raise UnmergeableError(str(error)) from error
    if rows != wanted:
        raise UnmergeableError(f"{wanted - rows} of {wanted} rows would be lost")
    return rows


def _rows(file: Path) -> int:
    return int(pq.read_metadata(file).num_rows)


def _common_schema(schemas: Sequence[pa.Schema]) -> pa.Schema:
    bare = [schema.remove_metadata() for schema in schemas]
    if all(schema.equals(bare[0]) for schema in bare):
        return bare[0]
    unified = pa.unify_schemas(bare, promote_options="permissive")
    return pa.schema([field.with_nullable(True) for field in unified])


def _groups(sources: Sequence[Path], schema: pa.Schema) -> Iterator[pa.Table]:
    gathered: list[pa.Table] = []
    rows = size_bytes = 0
    for source in sources:
        for batch in pq.ParquetFile(source).iter_batches(_ROWS_AT_ONCE):
            gathered.append(_with_columns(pa.Table.from_batches([batch]), schema))
            rows += batch.num_rows
            size_bytes += batch.nbytes
            if rows >= ROWS_A_GROUP or size_bytes >= _BYTES_A_GROUP:
                yield pa.concat_tables(gathered)
                gathered, rows, size_bytes = [], 0, 0
    if gathered:
        yield pa.concat_tables(gathered)


def _with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.nulls(table.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)
