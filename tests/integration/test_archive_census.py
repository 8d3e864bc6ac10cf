"""Counting the archive: what cannot be read counts for nothing and stops nobody."""

from kinstream.aws import AwsClients
from kinstream.settings import CoreSettings
from recommender_trigger.archive import ArchiveCensus
from recommender_trigger.domain.trigger import Policy
from tests.support.archive_files import archived, parquet

POLICY = Policy(1, 0, 0, 0, 0, 0, min_archived_events=10, min_archived_customers=10)


async def test_file_that_is_no_parquet_is_left_out_of_the_count(settings: CoreSettings):
    bucket = settings.names.of("archive")
    async with AwsClients(settings) as aws:
        s3 = await aws.open("s3")
        await s3.create_bucket(Bucket=bucket)
        await s3.put_object(Bucket=bucket, Key="events/a.parquet", Body=b"no parquet")
        rows = [archived(f"e-{number}", "fam", "s", 1_000) for number in range(3)]
        await s3.put_object(Bucket=bucket, Key="events/b.parquet", Body=parquet(rows))
        counts = await ArchiveCensus(s3, bucket, "events/").count(POLICY)
    assert counts.events == 3
