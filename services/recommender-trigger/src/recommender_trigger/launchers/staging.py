"""The job file, where a cluster reads it."""

import hashlib
from pathlib import Path
from typing import Any

JOB = Path(__file__).parent.parent / "job" / "train.py"


async def staged(s3: Any, bucket: str, name: str, body: bytes) -> str:
    """URI of the file, under its content's hash: a run never sees one that a later release replaced."""
    key = f"jobs/{hashlib.sha256(body).hexdigest()[:16]}/{name}"
    await s3.put_object(Bucket=bucket, Key=key, Body=body)
    return f"s3://{bucket}/{key}"


def words(text: str) -> list[str]:
    """The parts of a setting that has commas between them."""
    return [word.strip() for word in text.split(",") if word.strip()]
