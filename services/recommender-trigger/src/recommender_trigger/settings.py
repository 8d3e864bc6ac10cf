"""Settings of the recommender-trigger, beside those that every service has."""

from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from kinstream.settings import LONGEST_TRAINING_SECONDS, CoreSettings
from recommender_trigger.domain.trigger import Policy


class TriggerSettings(CoreSettings):
    """Environment variables `KINSTREAM_...`."""

    model_config = ConfigDict(populate_by_name=True)  # type: ignore[assignment]

    launcher: Literal["local", "emr", "emr-serverless"] = "local"
    """Where Spark runs: on this machine, on a transient EMR cluster, or as a job run of EMR Serverless."""
    java_home: Path | None = None
    """Java 17 for the local launcher, where it is neither in JAVA_HOME nor on the PATH."""

    training_enabled: bool = True
    """False launches nothing and ends what runs: it stops the spending."""
    training_tick_seconds: float = Field(10.0, gt=0)
    """How often the scheduler looks at who is due."""
    training_poll_seconds: float = Field(5.0, gt=0)
    """How often it looks at a run under way; EMR's events come sooner, where they come."""
    training_sweep_seconds: float = Field(300.0, gt=0)
    """How often it looks for clusters and job runs that no run knows of."""
    training_max_attempts: int = Field(3, ge=1)
    """How often a run asks for machines: those that fail it are asked for again, elsewhere and on demand."""
    training_lease_seconds: float = Field(90.0, ge=1)
    """How long after a trigger's death another one takes its run over."""
    training_max_run_seconds: float = Field(LONGEST_TRAINING_SECONDS, gt=0)
    """A run that takes longer is ended and counts as failed; publishing has an hour more. Shared with the
    session-worker, which keeps merged files of the archive for longer."""
    training_max_parallel_runs: int = Field(1, ge=1)
    """Runs of different apps at once; an app has one at a time."""

    training_min_due_customers: int = Field(25, ge=1)
    training_max_wait_seconds: float = Field(3600.0, ge=0)
    """Fewer due customers than that start a run as well once the oldest has waited so long."""
    training_settle_seconds: float = Field(30.0, ge=0)
    """A due customer joins a run after this long, by when the archive holds what made it due."""
    training_min_interval_seconds: float = Field(600.0, ge=0)
    training_backoff_seconds: float = Field(60.0, gt=0)
    training_max_backoff_seconds: float = Field(6 * 3600.0, gt=0)
    training_min_archived_events: int = Field(1_000, ge=0)
    training_min_archived_customers: int = Field(25, ge=0)
    """Customers with two or more events in the archive."""

    training_seed: int = Field(1, ge=0)
    training_min_warm_users: int = Field(50, ge=1)
    """With fewer customers to judge a model by, it is not published."""
    training_new_share: float = Field(0.05, ge=0, le=1)
    """Share of a list's places for new contents, by lot: what nobody has seen yet gets a chance."""
    training_new_customers: int = Field(3, ge=1)
    """From how many customers on a new content gets such a place: nobody pushes a made-up one to all."""
    training_driver_memory: str = Field("1g", pattern=r"^[1-9][0-9]*[mg]$")
    training_local_cores: int | None = Field(None, ge=1)
    """Cores of the local launcher; all of the machine's where it is not set."""

    emr_release: str = "emr-7.13.0"
    """The release with the Spark that the job is tested with, 3.5.6."""
    emr_subnet_ids: str = ""
    """Subnets for the clusters, with commas between."""
    emr_instance_types: str = "m7g.xlarge,m6g.xlarge,r7g.xlarge,r6g.xlarge"
    emr_task_instances: int = Field(2, ge=1)
    emr_service_role: str = "EMR_DefaultRole_V2"
    emr_instance_profile: str = "EMR_EC2_DefaultRole"
    emr_security_configuration: str | None = None
    """EMR's security configuration by name: encryption, and how nodes get at their credentials."""

    emr_serverless_application_id: str = ""
    emr_serverless_role_arn: str = ""
    """Role that the job has: it reads the archive and writes to the training bucket."""
    emr_serverless_python_uri: str = ""
    """A packed Python environment with numpy in S3, for an application whose image has none."""

    due_threshold_events: int = Field(
        100, ge=1, validation_alias="KINSTREAM_ACTIVITY_TRAINING_THRESHOLD_EVENTS"
    )
    """The `activity` processor's own threshold: who is past it again after a run stays due."""

    @property
    def emr_machines(self) -> int:
        """How many a cluster has: a master, a core machine and those for tasks."""
        return 2 + self.emr_task_instances

    @property
    def policy(self) -> Policy:
        """When a run is launched."""
        return Policy(
            min_due_customers=self.training_min_due_customers,
            max_wait_ms=int(self.training_max_wait_seconds * 1000),
            settle_ms=int(self.training_settle_seconds * 1000),
            min_interval_ms=int(self.training_min_interval_seconds * 1000),
            backoff_ms=int(self.training_backoff_seconds * 1000),
            max_backoff_ms=int(self.training_max_backoff_seconds * 1000),
            min_archived_events=self.training_min_archived_events,
            min_archived_customers=self.training_min_archived_customers,
            is_enabled=self.training_enabled,
        )
