"""Row `media-mix`: three 720p videos and 200 photos at once on two media-workers, and what these hold.

All goes the whole way: S3's notification, dispatcher, Celery through SQS, renditions, storage, catalog.
The files lie there before the workers start, so that only their work is timed. The peer is the same workers
with the videos alone and with the photos alone.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import DEVNULL, Popen, TimeoutExpired
from typing import Any

import psutil

from benchmarks.clips import Clip, write_clip, write_photos
from benchmarks.runner import Bench, MissingError, Result
from kinstream.aws import blocking_client
from kinstream.catalog import MediaRepository, NewItem, State, migrate, open_catalog
from kinstream.catalog.keys import original_key
from kinstream.catalog.limits import MediaSettings
from kinstream.resources import BUCKET_UPLOADS
from kinstream_devkit.provision import provision
from tests.support.ministack import ministack

LEAST_SHARE, MOST_BYTES = 0.9, 600_000_000
WORKERS = 2
VIDEOS = 3
_CLIP = Clip(
    "MPEG-4 720p + AMR", "mov", "3gp", "mpeg4", (1280, 720), 25, 4_000_000, "libopencore_amrnb", 8_000
)
_APP = "bench"
_LOOK_SECONDS = 0.25
_READY_SECONDS = 60
_DONE_SECONDS = 1_800
_STOP_SECONDS = 30


def measure(bench: Bench, name: str) -> Result:
    """The row: how fast all of it is against the parts one after the other, and the largest worker."""
    photo_count, seconds = bench.pick(40, 200), bench.pick(4, 10)
    bench.say("drawing videos and photos")
    clip = bench.folder / "clip.3gp"
    write_clip(clip, _CLIP, seconds)
    drawn = write_photos(bench.folder, bench.pick(2, 4))
    videos = [(clip, "video", "video/3gpp")] * VIDEOS
    photos = [(drawn[number % len(drawn)], "image", "image/jpeg") for number in range(photo_count)]
    runs = {}
    for what, files in {"videos": videos, "photos": photos, "together": [*videos, *photos]}.items():
        bench.say(f"{what}: {len(files)} files")
        runs[what] = _run(bench.folder / f"{name}-{what}", files)
    apart = runs["videos"].seconds + runs["photos"].seconds
    share = apart / runs["together"].seconds
    held = max(run.peak_bytes for run in runs.values())
    return Result(
        f"{share:.0%} of the throughput of the parts, {held / 1e6:,.0f} MB a worker at most",
        share >= LEAST_SHARE and held < MOST_BYTES,
        [
            f"{VIDEOS} videos of {seconds} s ({_CLIP.name}) and {photo_count} photos of 12 MP on {WORKERS} "
            f"workers of one file at a time: {runs['videos'].seconds:.1f} s and "
            f"{runs['photos'].seconds:.1f} s alone, {runs['together'].seconds:.1f} s together; "
            "the emulator shares the same cores",
            f"memory is what a worker and all its children hold together, shared pages counted once (PSS), "
            f"sampled every {_LOOK_SECONDS} s; largest single process by RSS "
            f"{max(run.peak_process_bytes for run in runs.values()) / 1e6:,.0f} MB",
        ],
        {
            "share": share,
            "peak_mb": held / 1e6,
            **{f"{what}_seconds": run.seconds for what, run in runs.items()},
        },
    )


@dataclass(slots=True)
class _Run:
    seconds: float = 0.0
    peak_bytes: int = 0
    """Of the largest worker, with its children."""
    peak_process_bytes: int = 0


_File = tuple[Path, str, str]


def _run(folder: Path, files: Sequence[_File]) -> _Run:
    folder.mkdir()
    with ExitStack() as exits:
        settings = MediaSettings(
            name_prefix="bench-media",
            aws_endpoint_url=exits.enter_context(ministack()),
            catalog_url=f"sqlite:///{folder}/catalog.sqlite3",  # type: ignore[arg-type]
        )
        catalog_url = settings.catalog_url.get_secret_value()
        migrate(catalog_url)
        provision(settings, [])
        catalog = open_catalog(catalog_url)
        exits.callback(catalog.close)
        s3 = blocking_client("s3", settings)
        exits.callback(s3.close)
        ids = _upload(settings, catalog, s3, files)
        workers = [exits.enter_context(_worker(settings, folder / f"worker-{n}")) for n in range(WORKERS)]
        with _Watch([psutil.Process(worker.pid) for worker in workers]) as watch:
            began = time.monotonic()
            _wait_until_ready(catalog, ids, workers)
            watch.run.seconds = time.monotonic() - began
        return watch.run


def _upload(settings: MediaSettings, catalog: MediaRepository, s3: Any, files: Sequence[_File]) -> list[str]:
    ids = [f"{number:032x}" for number in range(len(files))]
    for media_id, (path, kind, content_type) in zip(ids, files, strict=True):
        size_bytes = path.stat().st_size
        catalog.declare(NewItem(_APP, media_id, "fam-1", kind, content_type, size_bytes))
        s3.upload_file(str(path), settings.names.of(BUCKET_UPLOADS), original_key(_APP, media_id))
    return ids


@contextmanager
def _worker(settings: MediaSettings, folder: Path) -> Iterator[Popen[bytes]]:
    folder.mkdir()
    ready, log = folder / "ready", folder / "log"
    variables = {
        "KINSTREAM_NAME_PREFIX": settings.name_prefix,
        "KINSTREAM_AWS_ENDPOINT_URL": str(settings.aws_endpoint_url),
        "KINSTREAM_CATALOG_URL": settings.catalog_url.get_secret_value(),
        "KINSTREAM_READY_FILE": str(ready),
        "KINSTREAM_MEDIA_WORK_DIR": str(folder / "work"),
        "KINSTREAM_MEDIA_CONCURRENCY": "1",
        "KINSTREAM_LOG_LEVEL": "WARNING",
    }
    command = [sys.executable, "-c", "from media_worker.main import main; main()"]
    with log.open("wb") as sink:
        process = Popen(command, env=os.environ | variables, stdin=DEVNULL, stdout=sink, stderr=sink)
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise MissingError(f"a media-worker did not start: {log.read_text()[-300:]}")
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        with suppress(TimeoutExpired):
            process.wait(_STOP_SECONDS)
        process.kill()
        process.wait()


def _wait_until_ready(catalog: MediaRepository, ids: Sequence[str], workers: Sequence[Popen[bytes]]) -> None:
    waiting, deadline = list(ids), time.monotonic() + _DONE_SECONDS
    while waiting:
        item = catalog.get(_APP, waiting[-1])
        assert item is not None
        if item.state == State.READY:
            waiting.pop()
            continue
        if item.state == State.FAILED or any(worker.poll() is not None for worker in workers):
            raise MissingError(f"a file failed, or a worker ended: {item.reason}")
        if time.monotonic() > deadline:
            raise MissingError(f"{len(waiting)} files were not ready within {_DONE_SECONDS} s")
        time.sleep(0.1)


@dataclass
class _Watch:
    """Samples what workers and their children hold for as long as the block lasts."""

    workers: Sequence[psutil.Process]
    run: _Run = field(default_factory=_Run)

    def __enter__(self) -> "_Watch":
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            for worker in self.workers:
                held = [_held(process) for process in _tree(worker)]
                self.run.peak_bytes = max(self.run.peak_bytes, sum(shared for shared, _ in held))
                self.run.peak_process_bytes = max([self.run.peak_process_bytes, *(rss for _, rss in held)])


def _tree(worker: psutil.Process) -> list[psutil.Process]:
    try:
        return [worker, *worker.children(recursive=True)]
    except psutil.Error:
        return []


def _held(process: psutil.Process) -> tuple[int, int]:
    """(PSS, RSS); nothing for one that has just ended."""
    try:
        rss = process.memory_info().rss
        try:
            return process.memory_full_info().pss, rss
        except psutil.AccessDenied:
            # A decoder hides its pages from other users: all of them are counted as its own then.
            return rss, rss
    except psutil.Error:
        return 0, 0
