"""Files in, renditions out: declared, uploaded, waited for, downloaded and looked at closely."""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kinstream.errors import PermanentError
from kinstream_devkit.demo.client import DemoClient
from kinstream_devkit.demo.findings import Comparison, Difference, MediaResult, RenditionFile
from kinstream_devkit.demo.media_checks import Source, probe_source, problems_of
from kinstream_devkit.demo.media_parts import parts_of
from kinstream_devkit.media_files import send_file, wait_until_final
from kinstream_devkit.media_types import content_type_of

READY_WITHIN_SECONDS = 300.0

_LEAST_THUMBNAILS = 3


@dataclass(frozen=True, slots=True)
class MediaFile:
    """A file to send. `is_scene` where the demo drew it and so knows which way is up."""

    path: Path
    customer_id: str
    is_scene: bool = False


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
    kind = content_type_of(file.path) or "application/octet-stream"
    result = MediaResult(file.path.name, kind, file.path.stat().st_size)
    started = time.monotonic()
    try:
        await _through(client, file, result)
    except PermanentError as error:
        result.problems.append(str(error))
    result.seconds = time.monotonic() - started
    return result


async def _through(client: DemoClient, file: MediaFile, result: MediaResult) -> None:
    media_id = await send_file(client, file.path, file.customer_id)
    item = await wait_until_final(client, media_id, READY_WITHIN_SECONDS)
    result.state, result.reason = item["state"], item.get("reason")
    result.missing = [f"{one['name']} ({one['reason']})" for one in item["missing"]]
    source = await asyncio.to_thread(probe_source, file.path, is_scene=file.is_scene)
    if result.state != "ready":
        _judge_unready(result, source)
        return
    result.renditions = [await _fetched(client, rendition) for rendition in item["renditions"]]
    if source is not None:
        await asyncio.to_thread(_check, result, source)


async def _fetched(client: DemoClient, rendition: dict[str, Any]) -> RenditionFile:
    data = await client.download(rendition["url"])
    return RenditionFile(
        name=rendition["name"],
        kind=rendition["kind"],
        content_type=rendition["content_type"],
        width=rendition["width"],
        height=rendition["height"],
        duration_seconds=rendition["duration_seconds"],
        data=data,
        codecs=rendition["codecs"],
        parts=await parts_of(rendition["kind"], rendition["url"], data, client.download),
    )


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
    if source.is_scene and result.missing:
        result.problems.append(f"could not be made: {', '.join(result.missing)}")


def compare_media(results: list[MediaResult]) -> Comparison:
    """Every check of every file."""
    differences = [
        Difference(f"{result.name} #{number}", "as it should be", problem)
        for result in results
        for number, problem in enumerate(result.problems, 1)
    ]
    return Comparison("media checks", sum(max(result.checks, 1) for result in results), differences)
