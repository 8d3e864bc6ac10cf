"""The media part on an emulator: the API's routes, the catalog, and workers to start and kill."""

import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import httpx
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from ingest_api.auth import Authenticator
from ingest_api.derived_files import DerivedFiles
from ingest_api.errors import ApiError
from ingest_api.manifest import Manifests
from ingest_api.routes.links import Links
from ingest_api.routes.media import media_router
from ingest_api.url_signing import UrlSigner
from kinstream.aws import blocking_client
from kinstream.catalog import MAIN, migrate, open_catalog, open_work
from kinstream.catalog.keys import original_key
from kinstream.catalog.limits import MediaSettings
from kinstream.catalog.models import MediaItem, MediaStep
from kinstream.registry import ApiKey, create_key
from kinstream.resources import BUCKET_DERIVED, BUCKET_UPLOADS, QUEUE_MEDIA, QUEUE_MEDIA_LARGE, QUEUE_UPLOADS
from kinstream_devkit.provision import provision
from tests.support.ingest import URL_KEY

FINAL = ("ready", "failed")
_PATIENCE_SECONDS = 180
"""A bound for a hang, no measure of speed."""

_WORKER = """
import sys
from media_worker.main import main
from media_worker.sandbox.kernel import drop_capabilities
if sys.platform == "linux":
    drop_capabilities()
main()
"""
"""As it runs in its container: without root's powers, whoever runs the tests."""


class MediaStack:
    """One deployment on an emulator: the routes, the catalog, and a worker process to start and kill."""

    def __init__(self, folder: Path, endpoint: str, catalog_url: str) -> None:
        self.settings = MediaSettings(
            name_prefix=f"t{uuid.uuid4().hex[:12]}",
            aws_endpoint_url=endpoint,
            catalog_url=catalog_url,
        )
        self._folder = folder
        migrate(self.settings.catalog_url.get_secret_value())
        provision(self.settings, [])
        self.catalog = open_catalog(self.settings.catalog_url.get_secret_value())
        self.s3 = blocking_client("s3", self.settings)
        self.work = open_work(self.settings.catalog_url.get_secret_value())
        self.sqs = blocking_client("sqs", self.settings)
        self.sns = blocking_client("sns", self.settings)
        self.write_key, _ = create_key("demo", "write")
        self.secret_key, _ = create_key("demo", "secret")
        self.foreign_key, _ = create_key("other", "secret")
        self._server = uvicorn.Server(uvicorn.Config(self._app(), port=0, log_level="warning", ws="none"))
        self._serving = threading.Thread(target=self._server.run)
        self._serving.start()
        until(lambda: self._server.started, "the API to start")
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.api = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_SECONDS, trust_env=False
        )

    def _app(self) -> FastAPI:
        async def known(_: ApiKey) -> bool:
            return True

        app = FastAPI()
        life_seconds = self.settings.media_url_expiry_seconds
        files = DerivedFiles(None, self.s3, self.settings.names.of(BUCKET_DERIVED))
        manifests = Manifests(files, Links(UrlSigner([URL_KEY]), None, life_seconds), life_seconds)
        app.include_router(
            media_router(self.catalog, self.s3, manifests, self.settings, Authenticator(known))
        )

        @app.exception_handler(ApiError)
        def _(_request: Request, error: ApiError) -> JSONResponse:
            return JSONResponse(error.body, error.status)

        return app

    @property
    def work_dir(self) -> Path:
        return self._folder / "work"

    def start_worker(self, **extra: str) -> subprocess.Popen[bytes]:
        ready = self._folder / f"ready-{uuid.uuid4().hex}"
        log = self._folder / "worker.log"
        with log.open("ab") as sink:
            process = self._spawn(ready, sink, extra)
        until(lambda: ready.exists() or process.poll() is not None, "the worker to start")
        assert process.poll() is None, log.read_text()[-3000:]
        return process

    def _spawn(self, ready: Path, sink: IO[bytes], extra: dict[str, str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            env=os.environ
            | {
                "KINSTREAM_NAME_PREFIX": self.settings.name_prefix,
                "KINSTREAM_AWS_ENDPOINT_URL": str(self.settings.aws_endpoint_url),
                "KINSTREAM_CATALOG_URL": self.settings.catalog_url.get_secret_value(),
                "KINSTREAM_READY_FILE": str(ready),
                "KINSTREAM_REDIS_TIMEOUT_SECONDS": "10",
                "KINSTREAM_MEDIA_WORK_DIR": str(self.work_dir),
            }
            | extra,
            cwd=self._folder,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )

    @contextmanager
    def worker(self, **extra: str) -> Iterator[subprocess.Popen[bytes]]:
        process = self.start_worker(**extra)
        try:
            yield process
        finally:
            end(process)

    def declare(
        self, content_type: str, size: int, customer_id: str = "fam-1", **more: object
    ) -> httpx.Response:
        body = {"customer_id": customer_id, "content_type": content_type, "bytes": size} | more
        return self.api.post("/v1/media", json=body, headers=bearer(self.write_key))

    def upload(self, path: Path, content_type: str, **more: object) -> str:
        """Declare and send a file the way a client does; its media id."""
        declared = self.declare(content_type, path.stat().st_size, **more).json()
        sent = httpx.post(
            declared["upload"]["url"],
            data=declared["upload"]["fields"],
            files={"file": (path.name, path.read_bytes())},
            timeout=_PATIENCE_SECONDS,
            trust_env=False,
        )
        assert sent.is_success, sent.text
        return declared["media_id"]

    def read(self, media_id: str) -> dict:
        return self.api.get(f"/v1/media/{media_id}", headers=bearer(self.secret_key)).json()

    def wait(self, media_id: str, *states: str, seconds: float = _PATIENCE_SECONDS) -> dict:
        until(lambda: self.read(media_id)["state"] in states, f"{media_id} to be {states}", seconds)
        return self.read(media_id)

    def attempt(self, media_id: str, step: str = MAIN) -> int:
        """How often a step of an item has been begun."""
        engine = sa.create_engine(self.settings.catalog_url.get_secret_value())
        query = sa.select(MediaStep.attempt).where(MediaStep.media_id == media_id, MediaStep.name == step)
        with engine.connect() as connection:
            found = connection.scalar(query)
        engine.dispose()
        return found or 0

    def storage_forgets(self, media_id: str) -> None:
        """As when the bucket's lifecycle deletes an upload."""
        key = original_key("demo", media_id)
        self.s3.delete_object(Bucket=self.settings.names.of(BUCKET_UPLOADS), Key=key)

    def age_items(self, seconds: float) -> None:
        """As if all that is finished had been so for so long."""
        engine = sa.create_engine(self.settings.catalog_url.get_secret_value())
        with engine.begin() as connection:
            finished = MediaItem.finished_at_ms
            connection.execute(sa.update(MediaItem).values(finished_at_ms=finished - round(seconds * 1000)))
        engine.dispose()

    def depth(self, name: str) -> int:
        """Messages in a queue, visible and not."""
        url = self.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
        return sum(int(found[name]) for name in names)

    def wait_until_idle(self) -> None:
        # A message whose deletion was cut off comes once more when the queue's two minutes are over.
        names = [self.settings.names.of(name) for name in (QUEUE_UPLOADS, QUEUE_MEDIA, QUEUE_MEDIA_LARGE)]
        until(lambda: not any(map(self.depth, names)), "the queues to be empty", 120 + _PATIENCE_SECONDS)

    def close(self) -> None:
        self.api.close()
        self._server.should_exit = True
        self._serving.join()
        self.catalog.close()
        self.work.close()
        self.s3.close()
        self.sqs.close()
        self.sns.close()


def bearer(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def until(condition: Callable[[], bool], what: str, seconds: float = _PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"waited {seconds} s in vain for {what}"
        time.sleep(0.05)


def end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
