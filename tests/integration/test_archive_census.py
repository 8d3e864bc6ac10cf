"""Counting the archive: what cannot be read counts for nothing and stops nobody."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kinstream.aws import AwsClients
from kinstream.settings import CoreSettings
from recommender_trigger.archive import ArchiveCensus
from recommender_trigger.domain.trigger import Policy
from tests.support.archive_files import archived, parquet

POLICY = Policy(1, 0, 0, 0, 0, 0, min_archived_events=10, min_archived_customers=10)


def _written(customers: list[object]) -> bytes:
    file = io.BytesIO()
    table = pa.table({"customer_id": customers, "counted": [True] * len(customers)})
    pq.write_table(table, file, compression="none", use_dictionary=False)
    return file.getvalue()


def _with_damaged_pages() -> bytes:
    """A good footer over pages that are not."""
    whole = _written(["fam"] * 100)
    return whole[:4] + b"\xff" * 200 + whole[204:]


HOSTILE = {
    "no parquet": b"no parquet",
    "damaged pages": _with_damaged_pages(),
    "lists": _written([["fam"]]),
    "structs": _written([{"id": "fam"}]),
    "numbers": _written([7]),
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_file_that_cannot_be_read_is_left_out_of_the_count(settings: CoreSettings, body: bytes):
    bucket = settings.names.of("archive")
    async with AwsClients(settings) as aws:
        s3 = await aws.open("s3")
        await s3.create_bucket(Bucket=bucket)
        await s3.put_object(Bucket=bucket, Key="events/a.parquet", Body=body)
        rows = [archived(f"e-{number}", "fam", "s", 1_000) for number in range(3)]
        await s3.put_object(Bucket=bucket, Key="events/b.parquet", Body=parquet(rows))
        counts = await ArchiveCensus(s3, bucket, "events/").count(POLICY)
    assert counts.events == 3
