"""What each program of the embedded stack is started with: its command, environment, and when it is ready."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from pydantic import ValidationError
from pydantic_settings import SettingsError

from kinstream.errors import PermanentError
from kinstream.settings import CoreSettings
from kinstream_devkit.embedded.datadir import DataDir
from kinstream_devkit.embedded.emulator import (
    HOST,
    answers,
    console_script,
    emulator_command,
    emulator_environment,
)
from kinstream_devkit.embedded.redis_server import redis_answers, redis_command
from kinstream_devkit.embedded.supervisor import ChildSpec

API = "ingest-api"
SERVICES = (API, "session-worker", "media-worker", "recommender-trigger")
EMULATOR = "ministack"
REDIS = "redis"

_SERVICES_RANK, _REDIS_RANK, _EMULATOR_RANK = range(3)
_BEYOND_THE_GRACE_SECONDS = 1.5
"""What a service may take to end once the time is over that it gives to what is under way."""

_REDIS_STOP_SECONDS = 1.0
# Killed earlier, it would lose what it holds: this one is given the time that it takes to write it.
_EMULATOR_STOP_SECONDS = 30.0

LAPTOP_DEFAULTS: Mapping[str, str] = {
    "KINSTREAM_LAUNCHER": "local",
    # Small files, counters and trending soon, and a training run soon after a few people have done a little.
    "KINSTREAM_ARCHIVE_LINGER_SECONDS": "3",
    "KINSTREAM_SCORE_FLUSH_SECONDS": "3",
    "KINSTREAM_ROLL_UP_SECONDS": "1",
    "KINSTREAM_TRAINING_TICK_SECONDS": "2",
    "KINSTREAM_TRAINING_POLL_SECONDS": "1",
    "KINSTREAM_TRAINING_SETTLE_SECONDS": "10",
    "KINSTREAM_TRAINING_MAX_WAIT_SECONDS": "60",
    "KINSTREAM_TRAINING_MIN_INTERVAL_SECONDS": "60",
    "KINSTREAM_TRAINING_BACKOFF_SECONDS": "20",
    "KINSTREAM_SHUTDOWN_GRACE_SECONDS": "4",
}
"""What suits a laptop better than the services' own defaults, unless the user says otherwise."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the parts of one stack listen."""

    http: int
    emulator: int
    redis: int

    @property
    def url(self) -> str:
        """Address of the API."""
        return f"http://{HOST}:{self.http}"

    @property
    def endpoint_url(self) -> str:
        """Address of the AWS emulator."""
        return f"http://{HOST}:{self.emulator}"

    @property
    def redis_url(self) -> str:
        """Address of Redis."""
        return f"redis://{HOST}:{self.redis}/0"


def service_environment(data: DataDir, ports: Ports, user: Mapping[str, str]) -> dict[str, str]:
    """The environment that all services share.

    The user's own variables pass, except those that would lead away from this stack: where it is, and
    any real AWS credentials.
    """
    environment = {name: value for name, value in user.items() if not name.startswith("AWS_")}
    kept = {
        "KINSTREAM_CATALOG_URL": f"sqlite:///{data.catalog}",
        "KINSTREAM_LEDGER_HASH_KEY": data.ledger_hash_key(),
        "KINSTREAM_MEDIA_URL_KEY": data.media_url_key(),
        "KINSTREAM_MEDIA_WORK_DIR": str(data.media_work),
    }
    return {
        "PYTHONUNBUFFERED": "1",
        **kept,
        **LAPTOP_DEFAULTS,
        **environment,
        "KINSTREAM_AWS_ENDPOINT_URL": ports.endpoint_url,
        "KINSTREAM_AWS_REGION": "us-east-1",
        "KINSTREAM_AWS_ACCOUNT_ID": "000000000000",
        "KINSTREAM_REDIS_URL": ports.redis_url,
        "KINSTREAM_HTTP_PORT": str(ports.http),
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A proxy that is meant for the internet must not be asked for our own addresses.
        "NO_PROXY": _with_ourselves(user.get("NO_PROXY", user.get("no_proxy", ""))),
        "no_proxy": _with_ourselves(user.get("no_proxy", user.get("NO_PROXY", ""))),
    }


def core_settings(environment: Mapping[str, str]) -> CoreSettings:
    """The settings that this environment means; PermanentError naming the variable that is wrong."""
    prefix = CoreSettings.model_config.get("env_prefix", "")
    values = {
        name: environment[variable]
        for name in CoreSettings.model_fields
        if (variable := f"{prefix}{name}".upper()) in environment
    }
    try:
        return CoreSettings.model_validate(values)
    except (ValidationError, SettingsError) as error:
        raise PermanentError(_explain(error, prefix)) from error


def dependency_specs(data: DataDir, ports: Ports) -> list[ChildSpec]:
    """The emulator and Redis."""
    return [
        ChildSpec(
            name=EMULATOR,
            command=emulator_command(),
            environment=emulator_environment(ports.emulator, data.run, data.emulator),
            log_file=data.logs / f"{EMULATOR}.log",
            is_ready=partial(answers, ports.emulator),
            stop_rank=_EMULATOR_RANK,
            stop_seconds=_EMULATOR_STOP_SECONDS,
        ),
        ChildSpec(
            name=REDIS,
            command=redis_command(ports.redis, data.redis),
            environment={"PATH": os.defpath},
            log_file=data.logs / f"{REDIS}.log",
            is_ready=partial(redis_answers, ports.redis),
            stop_rank=_REDIS_RANK,
            stop_seconds=_REDIS_STOP_SECONDS,
        ),
    ]


def service_specs(
    data: DataDir, ports: Ports, environment: Mapping[str, str], services: tuple[str, ...]
) -> list[ChildSpec]:
    """The four services, or some of them."""
    return [_service_spec(name, data, ports, environment) for name in services]


def _service_spec(name: str, data: DataDir, ports: Ports, environment: Mapping[str, str]) -> ChildSpec:
    ready_file = data.run / f"{name}.ready"
    return ChildSpec(
        name=name,
        command=[str(console_script(name))],
        environment={**environment, "KINSTREAM_READY_FILE": str(ready_file)},
        log_file=data.logs / f"{name}.log",
        is_ready=partial(answers, ports.http, "/readyz") if name == API else ready_file.exists,
        stop_rank=_SERVICES_RANK,
        stop_seconds=float(environment["KINSTREAM_SHUTDOWN_GRACE_SECONDS"]) + _BEYOND_THE_GRACE_SECONDS,
        ready_file=ready_file,
    )


def _with_ourselves(no_proxy: str) -> str:
    return ",".join(filter(None, [no_proxy, HOST, "localhost"]))


def _explain(error: ValidationError | SettingsError, prefix: str) -> str:
    if isinstance(error, SettingsError):
        return str(error)
    return "; ".join(
        f"{prefix}{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
        for problem in error.errors(include_input=False)
    )
