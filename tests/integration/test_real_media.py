"""Every real file through the whole path, and what came out looked at by ffprobe, ffmpeg and exiftool."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from kinstream.resources import BUCKET_DERIVED
from kinstream_devkit.media_types import content_type_of
from tests.support.media_samples import needs_real_media, real_media
from tests.support.media_stack import FINAL, MediaStack
from tests.support.media_tools import Seen, alike, grid_at, look_at, require_tools, telling_tags

SECONDS = 0.4
"""By so much may a recording's length differ: sound comes in packets of up to a tenth of a second."""
ASPECT = 0.03
ALIKE = 0.9
PLAYED = {".mp4", ".m4a", ".m3u8"}
SHOWN = {".jpg", ".webp", ".avif", ".png"}
UNSEEN = {".heic"}
"""Originals that ffmpeg cannot open: nothing to hold their renditions against."""


@pytest.fixture(scope="module")
def made(
    tmp_path_factory: pytest.TempPathFactory, endpoint: str, catalog_url: str
) -> Iterator[dict[Path, Path]]:
    """Folder of all that was made of each real file: what lies in storage, not what the API tells of it."""
    require_tools()
    folder = tmp_path_factory.mktemp("real")
    stack = MediaStack(folder, endpoint, catalog_url)
    try:
        yield {source: folder / media_id for source, media_id in run(stack, folder).items()}
    finally:
        stack.close()


def run(stack: MediaStack, folder: Path) -> dict[Path, str]:
    sources = [*real_media("video"), *real_media("image")]
    with stack.worker():
        ids = {path: stack.upload(path, str(content_type_of(path))) for path in sources}
        ends = {path.name: stack.wait(media_id, *FINAL, seconds=300) for path, media_id in ids.items()}
    assert {name: item["reason"] for name, item in ends.items() if item["state"] != "ready"} == {}
    bucket = stack.settings.names.of(BUCKET_DERIVED)
    for media_id in ids.values():
        (folder / media_id).mkdir()
        for one in stack.s3.list_objects_v2(Bucket=bucket, Prefix=f"demo/{media_id}/")["Contents"]:
            stack.s3.download_file(bucket, one["Key"], str(folder / media_id / Path(one["Key"]).name))
    return ids


def each_seen(paths: list[Path]) -> dict[Path, Seen]:
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(paths, pool.map(look_at, paths), strict=True))


@needs_real_media()
def test_recordings_play_to_their_end_with_their_sound_and_right_way_up(made: dict[Path, Path]) -> None:
    for source, folder in made.items():
        if "video" not in source.parts:
            continue
        original = look_at(source)
        files = [path for path in sorted(folder.iterdir()) if path.suffix in PLAYED]
        played = {path.name: seen for path, seen in each_seen(files).items()}
        has_pictures = "video" in original.codecs
        main = played["video.mp4" if has_pictures else "audio.m4a"]
        expected = {"video": "h264", "audio": "aac"}
        assert main.codecs == {kind: expected[kind] for kind in original.codecs}, source.name
        for name, seen in played.items():
            where = f"{name} of {source.name}"
            assert seen.complaints == "", where
            assert abs(seen.claimed_seconds - seen.played_seconds) <= SECONDS, where
            if not name.startswith("preview"):
                assert abs(seen.played_seconds - original.played_seconds) <= SECONDS, where
            if "video" in seen.codecs and not name.startswith("preview"):
                assert abs(seen.last_picture_seconds - original.last_picture_seconds) <= SECONDS, where
        if has_pictures:
            same_shape(source, original, folder / "video.mp4", main)
            same_picture(source, original, folder / "video.mp4")


@needs_real_media()
def test_pictures_open_have_the_shape_of_the_original_and_stand_as_it_does(made: dict[Path, Path]) -> None:
    for source, folder in made.items():
        pictures = [path for path in sorted(folder.iterdir()) if path.suffix in SHOWN]
        if source.suffix in UNSEEN:
            original = None
        else:
            original = look_at(source)
            assert pictures or "video" not in original.codecs, source.name
        for path, seen in each_seen(pictures).items():
            assert seen.complaints == "", f"{path.name} of {source.name}"
            assert seen.width > 0
            if original and not path.name.startswith(("square", "storyboard")):
                same_shape(source, original, path, seen)
            if original and path.name.startswith("image-"):
                same_picture(source, original, path)


@needs_real_media()
def test_no_file_tells_a_place_a_device_a_person_or_a_date(made: dict[Path, Path]) -> None:
    assert telling_tags(list(made)), "the originals tell much: the tool is blind if it finds nothing"
    for source, folder in made.items():
        found = telling_tags([path for path in folder.iterdir() if path.suffix not in {".m3u8", ".vtt"}])
        assert found == {}, source.name


def same_shape(source: Path, original: Seen, path: Path, seen: Seen) -> None:
    aspect = (seen.width / seen.height) / (original.width / original.height)
    assert abs(aspect - 1) <= ASPECT, f"{path.name} of {source.name}"


def same_picture(source: Path, original: Seen, path: Path) -> None:
    middle = round(original.last_picture_seconds / 2, 2)
    assert alike(grid_at(source, middle), grid_at(path, middle)) >= ALIKE, f"{path.name} of {source.name}"
