"""The command line of the training job, the same for every launcher."""

from recommender_trigger.domain.runs import Run
from recommender_trigger.settings import TriggerSettings


def job_arguments(run: Run, settings: TriggerSettings, archive_uri: str, output_uri: str) -> list[str]:
    """Arguments for `job/train.py`."""
    return [
        "--archive", archive_uri,
        "--output", output_uri,
        "--run-id", run.run_id,
        "--as-of-ms", str(run.launched_at_ms),
        "--seed", str(settings.training_seed),
        "--min-warm-users", str(settings.training_min_warm_users),
        "--new-share", str(settings.training_new_share),
        "--new-customers", str(settings.training_new_customers),
        *(("--incumbent", run.incumbent) if run.incumbent else ()),
    ]  # fmt: skip
