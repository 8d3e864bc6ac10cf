"""Spark on this machine: the archive staged to a folder, spark-submit, the output back to S3.

PyPI's pyspark reads no S3, hence the staging; the job file is the same as on a cluster. Guarantee: Spark
ends with the process that launched it (on Linux however that ends); files that a killed process left are
removed by the next run. A run that dies with its trigger has failed and is launched anew by the scheduler's
rules.
"""

import asyncio
import importlib.util
import logging
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from kinstream.errors import KinstreamError, PermanentError
from kinstream.processes import is_alive
from kinstream.resources import BUCKET_ARCHIVE, BUCKET_TRAINING
from recommender_trigger.domain.attempts import Launched
from recommender_trigger.domain.runs import Run
from recommender_trigger.job_arguments import job_arguments
from recommender_trigger.job_package import FILE_NAME, package
from recommender_trigger.launchers import leash
from recommender_trigger.launchers.base import Progress, Status
from recommender_trigger.launchers.java import MISSING, find_java_home
from recommender_trigger.launchers.staging import JOB
from recommender_trigger.settings import TriggerSettings
from recommender_trigger.storage import keys_under, read_object

log = logging.getLogger(__name__)

NO_PYSPARK = "Training on this machine needs pyspark: pip install 'kinstream-recommender-trigger[local]'."
_FOLDER = "kinstream-training-"
_PARALLEL_TRANSFERS = 8
_REASON_CHARACTERS = 400
_LOG_BYTES = 1_000_000
_CONF = {
    # Tiny data: one task more costs more than it saves, and the optimising compiler never pays.
    "spark.sql.shuffle.partitions": "4",
    "spark.sql.adaptive.enabled": "false",
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xss16m",
    "spark.ui.enabled": "false",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}


class LocalLauncher:
    """Runs of this process, by run id. Its handles mean nothing to another process."""

    name = "local"

    def __init__(self, s3: Any, settings: TriggerSettings) -> None:
        self._s3 = s3
        self._settings = settings
        self._archive = settings.names.of(BUCKET_ARCHIVE)
        self._training = settings.names.of(BUCKET_TRAINING)
        self._runs: dict[str, asyncio.Task[None]] = {}

    async def unavailable(self) -> str | None:
        if importlib.util.find_spec("pyspark") is None:
            return NO_PYSPARK
        return None if await find_java_home(self._settings.java_home) else MISSING

    async def find(self, run: Run) -> str | None:
        return run.run_id if run.run_id in self._runs else None

    async def launch(self, run: Run) -> str:
        self._runs[run.run_id] = asyncio.create_task(self._run(run))
        return run.run_id

    async def status(self, run: Run) -> Status:
        task = self._runs.get(run.run_id)
        if task is None or task.cancelled():
            return Status(Progress.FAILED, "the trigger that ran it has stopped, and Spark with it")
        if not task.done():
            return Status(Progress.RUNNING)
        error = task.exception()
        if error is None:
            return Status(Progress.SUCCEEDED)
        if not isinstance(error, KinstreamError | BotoCoreError | ClientError | OSError):
            raise error
        log_uri = f"s3://{self._training}/{_log_key(run)}"
        return Status(Progress.FAILED, f"{error}"[:_REASON_CHARACTERS], log_uri=log_uri)

    async def terminate(self, run: Run) -> None:
        task = self._runs.get(run.run_id)
        if task:
            task.cancel()
            await asyncio.wait({task})

    async def at_work(self) -> Sequence[Launched]:
        """Nothing to look for: Spark ends with its trigger."""
        return []

    async def end(self, handle: str) -> None:
        """Nobody can hold the handle of another process's run."""

    async def let_go(self, run: Run) -> None:
        await self.terminate(run)
        self._runs.pop(run.run_id, None)

    async def _run(self, run: Run) -> None:
        folder = _new_folder()
        try:
            await self._stage(run, folder / "archive")
            await self._submit(run, folder)
            await self._upload(run, folder / "output")
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def _stage(self, run: Run, folder: Path) -> None:
        limit = asyncio.Semaphore(_PARALLEL_TRANSFERS)

        async def fetch(number: int, key: str) -> None:
            # What is gone was merged: compaction deletes only what another file that was listed holds.
            async with limit:
                with suppress(PermanentError):
                    body = await read_object(self._s3, self._archive, key)
                    # Numbered: a key is no file name.
                    (folder / f"{number:08d}.parquet").write_bytes(body)

        keys = [
            key
            async for key in keys_under(self._s3, self._archive, run.archive_prefix)
            if key.endswith(".parquet")
        ]
        try:
            async with asyncio.TaskGroup() as group:
                for number, key in enumerate(keys):
                    group.create_task(fetch(number, key))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    async def _submit(self, run: Run, folder: Path) -> None:
        java_home = await find_java_home(self._settings.java_home)
        if java_home is None:
            raise PermanentError(MISSING)
        (folder / FILE_NAME).write_bytes(package())
        errors = folder / "errors.log"
        with errors.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, leash.__file__, str(os.getpid())),
                *self._command(run, folder),
                env=_environment(java_home, folder),
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=sink,
                start_new_session=True,
            )
            try:
                code = await process.wait()
            finally:
                # The whole group: Spark's Python children too, however this was left.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if code != 0:
            log_text = errors.read_bytes()[-_LOG_BYTES:]
            await self._s3.put_object(Bucket=self._training, Key=_log_key(run), Body=log_text)
            told = last_error(log_text.decode(errors="replace"))
            raise PermanentError(f"spark-submit ended with {code}: {told}")

    def _command(self, run: Run, folder: Path) -> list[str]:
        spec = importlib.util.find_spec("pyspark")
        if spec is None or spec.origin is None:
            raise PermanentError(NO_PYSPARK)
        settings = self._settings
        conf = _CONF | {"spark.local.dir": str(folder), "spark.sql.warehouse.dir": str(folder / "warehouse")}
        return [
            str(Path(spec.origin).parent / "bin" / "spark-submit"),
            *("--master", f"local[{settings.training_local_cores or '*'}]"),
            *("--driver-memory", settings.training_driver_memory),
            *(part for name, value in conf.items() for part in ("--conf", f"{name}={value}")),
            *("--py-files", str(folder / FILE_NAME)),
            str(JOB),
            *job_arguments(run, settings, (folder / "archive").as_uri(), (folder / "output").as_uri()),
        ]

    async def _upload(self, run: Run, folder: Path) -> None:
        for path in _output_files(folder):
            key = run.folder + path.relative_to(folder).as_posix()
            await self._s3.put_object(Bucket=self._training, Key=key, Body=path.read_bytes())


def _log_key(run: Run) -> str:
    return f"logs/{run.run_id}/stderr.log"


def _new_folder() -> Path:
    """A folder of this process's own; what killed processes left behind is removed on the way."""
    for left in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        pid = left.name.removeprefix(_FOLDER).partition("-")[0]
        if pid.isdigit() and not is_alive(int(pid)):
            shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{_FOLDER}{os.getpid()}-"))
    (folder / "archive").mkdir()
    return folder


def _output_files(folder: Path) -> list[Path]:
    """What to upload, the manifest last: where it lies, the output is whole."""
    manifest = folder / "manifest.json"
    if not manifest.is_file():
        raise PermanentError("Spark ended well but wrote no manifest")
    return [*sorted(folder.glob("recommendations/part-*")), manifest]


def last_error(text: str) -> str:
    """The line of a Spark log that says what went wrong."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "Exception" in line]
    return (telling or lines or ["it said nothing"])[-1][:_REASON_CHARACTERS]


def _environment(java_home: Path, folder: Path) -> dict[str, str]:
    """Only what Spark needs: none of this service's settings or credentials."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "JAVA_HOME": str(java_home),
        "PYSPARK_PYTHON": sys.executable,
        "PYSPARK_DRIVER_PYTHON": sys.executable,
        "SPARK_LOCAL_IP": "127.0.0.1",
        "TMPDIR": str(folder),
    }
