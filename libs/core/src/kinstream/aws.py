"""AWS clients: built in a `main.py`, handed down, closed there."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self, cast

import boto3
from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from botocore.config import Config
from botocore.credentials import ReadOnlyCredentials

from kinstream.errors import RetryableError
from kinstream.settings import CoreSettings
from kinstream.sigv4 import Credentials

# An emulator takes any credentials, and must never be sent real ones; unless it is said to check them.
_EMULATED: Credentials = ReadOnlyCredentials("local", "local", None)


def endpoint(service: str, settings: CoreSettings) -> str:
    """URL of a service, ending in a slash."""
    url = settings.aws_endpoint_url or f"https://{service}.{settings.aws_region}.amazonaws.com"
    return url.rstrip("/") + "/"


def _is_told_nothing(settings: CoreSettings) -> bool:
    return settings.aws_endpoint_url is not None and not settings.aws_endpoint_checks_iam


def _options(settings: CoreSettings) -> dict[str, Any]:
    options: dict[str, Any] = {"region_name": settings.aws_region}
    if settings.aws_endpoint_url:
        options["endpoint_url"] = settings.aws_endpoint_url
    if _is_told_nothing(settings):
        options |= {
            "aws_access_key_id": _EMULATED.access_key,
            "aws_secret_access_key": _EMULATED.secret_key,
        }
    return options


def _config(settings: CoreSettings, max_attempts: int, read_timeout_seconds: float) -> dict[str, Any]:
    return {
        "connect_timeout": 3,
        "read_timeout": read_timeout_seconds,
        "max_pool_connections": 64,
        "retries": {"mode": "standard", "total_max_attempts": max_attempts},
        "s3": {"addressing_style": "path" if settings.aws_endpoint_url else "auto"},
    }


class CredentialsSource:
    """Credentials for requests that are signed by ourselves: as botocore finds and renews them."""

    def __init__(self, settings: CoreSettings) -> None:
        self._is_told_nothing = _is_told_nothing(settings)
        self._session = get_session()
        self._found: Any = None

    async def __call__(self) -> Credentials:
        """Fresh ones. RetryableError where there are none."""
        if self._is_told_nothing:
            return _EMULATED
        if self._found is None:
            self._found = await self._session.get_credentials()
        if self._found is None:
            raise RetryableError("no AWS credentials were found")
        return cast(Credentials, await self._found.get_frozen_credentials())


class AwsClients:
    """Async clients of one process. `async with AwsClients(settings) as aws: await aws.open("sqs")`."""

    def __init__(
        self, settings: CoreSettings, *, max_attempts: int = 4, read_timeout_seconds: float = 30
    ) -> None:
        self._settings = settings
        # Our requests are built by tested code: checking them again costs a tenth of a worker's time.
        self._config = AioConfig(
            **_config(settings, max_attempts, read_timeout_seconds), parameter_validation=False
        )
        self._session = get_session()
        self._stack = AsyncExitStack()

    async def open(self, service: str) -> Any:
        """A client of an AWS service, open until this object is left."""
        client = self._session.create_client(service, config=self._config, **_options(self._settings))
        return await self._stack.enter_async_context(client)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()


def blocking_client(
    service: str, settings: CoreSettings, *, max_attempts: int = 4, read_timeout_seconds: float = 60
) -> Any:
    """A boto3 client, for Celery's children and for tools that run no event loop."""
    config = Config(**_config(settings, max_attempts, read_timeout_seconds))
    # A session of its own: boto3's default session is not safe to share between threads.
    return boto3.session.Session().client(service, config=config, **_options(settings))
