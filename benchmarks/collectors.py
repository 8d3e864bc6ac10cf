"""ingest-api and its peers as programs under measurement, on one core; what they need is on the other."""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.processes import cpu_seconds, free_port, pinned, redis, server, stub_aws
from benchmarks.runner import MissingError
from kinstream import keys
from kinstream.aws import blocking_client
from kinstream.dynamo import to_item
from kinstream.registry import create_key
from kinstream.resources import TABLE_REGISTRY
from kinstream.settings import CoreSettings

PREFIX = "bench"
APP = "bench"
_UVICORN = (
    *("--no-access-log", "--log-level", "warning", "--loop", "uvloop", "--http", "httptools"),
    *("--lifespan", "off", "--no-server-header", "--no-proxy-headers", "--ws", "none"),
)
# Above any load here: what is measured is the collector, its limiter at work but not in the way.
_RATE = {
    "KINSTREAM_RATE_LIMIT_EVENTS_PER_SECOND": "1000000",
    "KINSTREAM_RATE_LIMIT_BURST_EVENTS": "1000000",
}

_NGINX = """\
daemon off; master_process off; worker_processes 1;
pid {folder}/pid; error_log {folder}/errors warn;
events {{ worker_connections 1024; }}
http {{
  log_format bodies escape=none '$request_body';
  access_log {folder}/bodies.log bodies;
  client_max_body_size 1m; client_body_buffer_size 1m; client_body_in_single_buffer on;
  client_body_temp_path {folder}/t; proxy_temp_path {folder}/t; fastcgi_temp_path {folder}/t;
  uwsgi_temp_path {folder}/t; scgi_temp_path {folder}/t;
  keepalive_requests 1000000000;
  server {{
    listen 127.0.0.1:{port};
    # nginx reads a body only for somebody: here for a mirror that forgets it. The image refuses a POST.
    location = /v1/events {{ mirror /_read; empty_gif; error_page 405 =202 /_taken; }}
    location = /_read {{ internal; access_log off; return 204; }}
    default_type application/json;
    location = /_taken {{ internal; return 202 '{{"accepted":1,"rejected":[]}}'; }}
  }}
}}
"""


@dataclass(frozen=True)
class Side:
    """A collector that takes POST /v1/events, and a key that it knows."""

    process: psutil.Process
    port: int
    key: str = "none"
    aws: str = ""
    """URL of what it publishes to."""

    @property
    def cpu_seconds(self) -> float:
        """So far."""
        return cpu_seconds(self.process)


@contextmanager
def ours(folder: Path, *, keep: bool = False) -> Iterator[Side]:
    """ingest-api before a stub of AWS that confirms at once; with `keep` the stub counts what arrives."""
    text, key = create_key(APP, "write")
    with stub_aws(keep=keep) as url:
        settings = CoreSettings(name_prefix=PREFIX, aws_endpoint_url=url)
        pk, sk = keys.api_key(key.app, key.hash)
        values = {"kind": key.kind, "hash": key.hash, "label": key.label}
        row = {"pk": pk, "sk": sk, **values, "created_at_ms": 0, "revoked_at_ms": None}
        table = settings.names.of(TABLE_REGISTRY)
        blocking_client("dynamodb", settings).put_item(TableName=table, Item=to_item(row))
        with ingest_api(folder, settings, text) as side:
            yield side


@contextmanager
def ingest_api(
    folder: Path, settings: CoreSettings, key: str, variables: Mapping[str, str] | None = None
) -> Iterator[Side]:
    """ingest-api as it is, with a Redis of its own, before whatever the settings name."""
    port = free_port()
    assert settings.aws_endpoint_url
    with redis(folder) as redis_url:
        environment = {
            "KINSTREAM_NAME_PREFIX": settings.name_prefix,
            "KINSTREAM_AWS_ENDPOINT_URL": settings.aws_endpoint_url,
            "KINSTREAM_REDIS_URL": redis_url,
            "KINSTREAM_MEDIA_URL_KEY": "a key for signed urls that is never used",
            "KINSTREAM_HTTP_PORT": str(port),
            "KINSTREAM_CATALOG_URL": f"sqlite:///{folder}/catalog.sqlite3",
            "KINSTREAM_LOG_LEVEL": "WARNING",
            **_RATE,
            **(variables or {}),
        }
        with server(pinned(0, [sys.executable, "-m", "ingest_api.main"]), port, environment) as process:
            yield Side(process, port, key, settings.aws_endpoint_url)


@contextmanager
def bare() -> Iterator[Side]:
    """uvicorn that decodes and forgets, without a framework."""
    with _uvicorn("benchmarks.bare_collector:app") as side:
        yield side


@contextmanager
def fastapi() -> Iterator[Side]:
    """The same server with a FastAPI route and a pydantic model."""
    with _uvicorn("benchmarks.fastapi_collector:app") as side:
        yield side


@contextmanager
def nginx(folder: Path) -> Iterator[Side]:
    """nginx that writes each body to its log; MissingError where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise MissingError("nginx is not installed (on Debian: apt install nginx-light)")
    own = folder / "nginx"
    (own / "t").mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = own / "nginx.conf"
    config.write_text(_NGINX.format(folder=own, port=port))
    try:
        with server(pinned(0, [program, "-e", f"{own}/errors", "-c", str(config)]), port) as process:
            yield Side(process, port)
    finally:
        shutil.rmtree(own, ignore_errors=True)


@contextmanager
def _uvicorn(program: str) -> Iterator[Side]:
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", program, "--port", str(port), *_UVICORN]
    with server(pinned(0, command), port) as process:
        yield Side(process, port)
