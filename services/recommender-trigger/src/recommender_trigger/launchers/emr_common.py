"""What clusters and job runs have in common."""

from datetime import UTC, datetime

from botocore.exceptions import ClientError

from kinstream.resources import BUCKET_ARCHIVE, BUCKET_TRAINING
from recommender_trigger.domain.runs import Run
from recommender_trigger.settings import TriggerSettings

TAG_DEPLOYMENT = "kinstream-deployment"
TAG_RUN = "kinstream-run"
SPARK_OPTIONS = {"driver": "-Xss16m", "executor": "-Xss16m"}
"""Deep lineages are serialised recursively."""

REASON_CHARACTERS = 400
_CLOCKS_APART_SECONDS = 60


def run_tags(run: Run, settings: TriggerSettings) -> dict[str, str]:
    """By which a cluster or a job run is known to be ours."""
    return {TAG_DEPLOYMENT: settings.name_prefix, TAG_RUN: run.run_id}


def uris(run: Run, settings: TriggerSettings) -> tuple[str, str]:
    """Where the job reads, and where it writes."""
    archive = f"s3://{settings.names.of(BUCKET_ARCHIVE)}/{run.archive_prefix}"
    return archive, f"s3://{settings.names.of(BUCKET_TRAINING)}/{run.folder.rstrip('/')}"


def logs_uri(settings: TriggerSettings) -> str:
    """Where EMR puts logs; ends with a slash."""
    return f"s3://{settings.names.of(BUCKET_TRAINING)}/logs/"


def created_after(run: Run) -> datetime:
    """Before anything was launched for the run, whatever the difference of clocks."""
    return datetime.fromtimestamp(run.launched_at_ms / 1000 - _CLOCKS_APART_SECONDS, UTC)


def error_code(error: ClientError) -> str:
    """As AWS names it."""
    return str(error.response["Error"]["Code"])
