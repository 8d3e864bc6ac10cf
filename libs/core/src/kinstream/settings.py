"""Settings that every service shares. Each service adds its own in its `main.py`'s neighbour."""

import sys
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from kinstream.resources import Names

LONGEST_TRAINING_SECONDS = 3 * 3600.0
"""Default of `KINSTREAM_TRAINING_MAX_RUN_SECONDS`: the trigger ends runs by it, compaction waits for them."""


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


OptionalText = Annotated[str | None, BeforeValidator(_none_if_empty)]
"""A setting that may be left out; a template that leaves it empty means the same."""


class CoreSettings(BaseSettings):
    """Read from the environment with the prefix `KINSTREAM_`; frozen once read."""

    model_config = SettingsConfigDict(env_prefix="KINSTREAM_", frozen=True, extra="ignore")

    name_prefix: str = Field("kinstream", pattern=r"^[a-z][a-z0-9-]{2,30}$")
    """First part of every resource's name, so that two deployments can share an account."""
    aws_region: str = "us-east-1"
    aws_endpoint_url: str | None = Field(None, pattern=r"^https?://[^/\s]+/?$")
    """An emulator's address; None on AWS."""
    aws_endpoint_checks_iam: bool = False
    """Whether that emulator asks who calls: it is then told this process's own credentials."""
    aws_account_id: str = "000000000000"
    redis_url: str = Field("redis://127.0.0.1:6379/0", pattern=r"^(rediss?|unix)://")
    redis_timeout_seconds: float = Field(0.25, gt=0)
    """For so long a request or a step waits for Redis before it does without; an event stream, which cannot,
    waits a few times as long."""
    catalog_url: SecretStr = Field(
        SecretStr(""),
        description="postgresql://USER:PASSWORD@HOST:5432/kinstream (secret catalog-url), or sqlite:///FILE",
    )
    ledger_hash_key: SecretStr = Field(SecretStr(""), description="a secret of 32 characters")
    """Secret of the ledger's hashes: changing it makes every counted event look new."""
    ledger_retention_seconds: int = Field(35 * 86_400, ge=3_600)
    """How far back events count. Older ones are quarantined, never counted twice."""
    ready_file: Path | None = None
    """Where a worker says that it is ready; see `kinstream.readiness`."""
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$")
    otlp_endpoint: OptionalText = Field(None, pattern=r"^https?://[^/]+$")
    """An OpenTelemetry collector's address for OTLP over HTTP, say http://127.0.0.1:4318. None: no traces."""
    trace_ratio: float = Field(0.01, ge=0, le=1)
    """Share of the requests that are traced, each to its end, where there is a collector."""
    startup_wait_seconds: float = Field(60.0, gt=0)
    """How long to wait at the start for what the service cannot work without; see `kinstream.startup`."""
    shutdown_grace_seconds: float = Field(8.0, gt=0)

    @property
    def names(self) -> Names:
        """Names of everything this deployment uses."""
        return Names(self.name_prefix, self.aws_region, self.aws_account_id)

    @property
    def traced_share(self) -> float:
        """Of what begins here, how much is traced: 0 to 1."""
        return self.trace_ratio if self.otlp_endpoint else 0.0


Kind = TypeVar("Kind", bound=BaseSettings)


def read_settings(kind: type[Kind], service: str, *required: str) -> Kind:
    """The settings of a service, or of a part of it; those in `required` have a description and no default.

    SystemExit names each variable that is wrong or missing, without its value.
    """
    try:
        settings = kind()
    except ValidationError as error:
        problems = [_problem(_variable(kind, one["loc"][0]), one["msg"]) for one in error.errors()]
    else:
        problems = [
            f"{_variable(kind, name)} is not set: it has to be {kind.model_fields[name].description}"
            for name in required
            if not getattr(settings, name).get_secret_value()
        ]
        if not problems:
            return settings
    sys.exit(f"{service} cannot start: {'; '.join(problems)}")


def _problem(variable: str, told: str) -> str:
    told = told.removeprefix("Value error, ")
    return told if variable in told else f"{variable}: {told}"


def _variable(kind: type[BaseSettings], name: int | str) -> str:
    text = str(name).upper()
    return text if text.startswith("KINSTREAM_") else f"{kind.model_config.get('env_prefix', '')}{text}"
