"""Files in, renditions out: declared, uploaded, waited for, downloaded and looked at closely."""

import asyncio
import mimetypes
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinstream_devkit.demo.client import DemoClient
from kinstream_devkit.demo.findings import (
    Comparison,
    DemoError,
    Difference,
    MediaResult,
    RenditionFile,
)
from kinstream_devkit.demo.media_checks import Source, probe_source, problems_of

READY_WITHIN_SECONDS = 90.0

_POLL_SECONDS = 0.4
_FINAL_STATES = {"ready", "failed"}
_TYPES = {
    ".3gp": "video/3gpp",
    ".3gpp": "video/3gpp",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".mov": "video/quicktime",
    ".webp": "image/webp",
}
_LEAST_THUMBNAILS = 3


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file to send. `is_scene` where the demo drew it and so knows which way is up."""

    path: Path
    customer_id: str
    is_scene: bool = False

    @property
    def content_type(self) -> str:
        """Its MIME type, from its name."""
        suffix = self.path.suffix.lower()
        return _TYPES.get(suffix) or mimetypes.guess_type(self.path)[0] or "application/octet-stream"


def make_samples(folder: Path, customer_id: str, seed: int) -> list[MediaFile]:
    """A phone video and three photos, turned in three ways, all with the place they were taken at."""
    from kinstream_devkit.generate.media import write_phone_video, write_photo

    folder.mkdir(parents=True, exist_ok=True)
    video = folder / "birthday.3gp"
    write_phone_video(video, 6, "cif", turned=90)
    photos = (("beach.jpg", 2400, 1800, 1), ("garden.jpg", 1800, 2400, 6), ("upside-down.jpg", 2000, 1500, 3))
    for number, (name, width, height, orientation) in enumerate(photos):
        write_photo(folder / name, width, height, orientation, gps=True, seed=seed + number)
    paths = [video, *(folder / name for name, *_ in photos)]
    return [MediaFile(path, customer_id, is_scene=True) for path in paths]


async def send_media(client: DemoClient, files: list[MediaFile]) -> list[MediaResult]:
    """All files at once; what came of each, in the same order."""
    return list(await asyncio.gather(*(_one(client, file) for file in files)))


async def _one(client: DemoClient, file: MediaFile) -> MediaResult:
    data = await asyncio.to_thread(file.path.read_bytes)
    result = MediaResult(file.path.name, file.content_type, len(data))
    started = time.monotonic()
    try:
        await _through(client, file, data, result)
    except DemoError as error:
        result.problems.append(str(error))
    result.seconds = time.monotonic() - started
    return result


async def _through(client: DemoClient, file: MediaFile, data: bytes, result: MediaResult) -> None:
    declared = {"customer_id": file.customer_id, "content_type": file.content_type, "bytes": len(data)}
    answer = await client.post("/v1/media", declared)
    upload = answer["upload"]
    await client.upload(upload["url"], upload["fields"], file.path.name, data, file.content_type)
    item = await _wait_until_final(client, answer["media_id"])
    result.state, result.reason = item["state"], item.get("reason")
    source = await asyncio.to_thread(probe_source, file.path, is_scene=file.is_scene)
    if result.state != "ready":
        _judge_unready(result, source)
        return
    for rendition in item["renditions"]:
        result.renditions.append(
            RenditionFile(
                name=rendition["name"],
                kind=rendition["kind"],
                content_type=rendition["content_type"],
                width=rendition.get("width"),
                height=rendition.get("height"),
                duration_seconds=rendition.get("duration_seconds"),
                data=await client.download(rendition["url"]),
            )
        )
    if source is not None:
        await asyncio.to_thread(_check, result, source)


async def _wait_until_final(client: DemoClient, media_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while True:
        item = await client.get(f"/v1/media/{media_id}")
        if item["state"] in _FINAL_STATES or time.monotonic() > deadline:
            return item
        await asyncio.sleep(_POLL_SECONDS)


def _judge_unready(result: MediaResult, source: Source | None) -> None:
    """A file that cannot be read may fail, with a reason; nothing else may."""
    result.checks += 1
    if result.state != "failed":
        result.problems.append(f"still {result.state} after {READY_WITHIN_SECONDS:.0f} s")
    elif source is not None and source.is_scene:
        result.problems.append(f"failed: {result.reason}")
    elif not result.reason:
        result.problems.append("failed without saying why")


def _check(result: MediaResult, source: Source) -> None:
    for rendition in result.renditions:
        for problem in problems_of(rendition, source):
            result.checks += 1
            if problem:
                result.problems.append(problem)
    result.checks += 1
    kinds = [rendition.content_type.split("/")[0] for rendition in result.renditions]
    if source.is_video and ("video" not in kinds or "image" not in kinds):
        result.problems.append("a video must become an MP4 with a poster")
    if not source.is_video and kinds.count("image") < _LEAST_THUMBNAILS and source.is_scene:
        result.problems.append(f"a photo must become {_LEAST_THUMBNAILS} thumbnails")


def compare_media(results: list[MediaResult]) -> Comparison:
    """Every check of every file."""
    differences = [
        Difference(f"{result.name} #{number}", "as it should be", problem)
        for result in results
        for number, problem in enumerate(result.problems, 1)
    ]
    return Comparison("media checks", sum(max(result.checks, 1) for result in results), differences)
