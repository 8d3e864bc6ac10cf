"""The job, where a cluster reads it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recommender_trigger.job_package import FILE_NAME, package

JOB = Path(__file__).parent.parent / "job" / "train.py"


@dataclass(frozen=True, slots=True)
class StagedJob:
    """URIs of the file that is submitted, and of the package that it imports."""

    entry: str
    package: str


async def staged_job(s3: Any, bucket: str) -> StagedJob:
    """The job as it is in this release."""
    return StagedJob(
        await staged(s3, bucket, "train.py", JOB.read_bytes()), await staged(s3, bucket, FILE_NAME, package())
    )


async def staged(s3: Any, bucket: str, name: str, body: bytes) -> str:
    """URI of the file, under its content's hash: a run never sees one that a later release replaced."""
    key = f"jobs/{hashlib.sha256(body).hexdigest()[:16]}/{name}"
    await s3.put_object(Bucket=bucket, Key=key, Body=body)
    return f"s3://{bucket}/{key}"


def words(text: str) -> list[str]:
    """The parts of a setting that has commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]
