"""Hostile files: each is refused with a reason that people understand, or comes out right, within bounds."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from media_worker.sandbox import Sandbox, SandboxLimits
from tests.support import hostile_media
from tests.support.decoding import assert_sound, decode
from tests.support.media_samples import needs_real_media, real_media

MOST_BYTES = 1_000_000_000
WORK = [("image", name) for name in hostile_media.IMAGES] + [
    ("video", name) for name in hostile_media.RECORDINGS
]
TELLING = {
    "png claiming 4 gigapixels": "pixels",
    "jpeg claiming 4 gigapixels": "pixels",
    "gif claiming 4 gigapixels": "pixels",
    "mp4 claiming 10 hours": "minutes",
    "mp4 of 40 streams": "42 streams, 16 are allowed",
    "mp4 of 2 million pictures": "1,728,000 pictures",
    "concat list as 3gp": "no media file",
    "playlist as 3gp": "no media file",
    "text as a photo": "no media file",
    "photo packed with gzip": "no media file",
    "empty photo": "empty",
    "empty video": "empty",
}
"""Words that the reason must have, where the file's fault is one that its sender can do something about."""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(SandboxLimits(cpu_seconds=60, wall_seconds=120))
    yield made
    made.close()


def check(sandbox: Sandbox, folder: Path, kind: str, write: Callable[[Path], None]) -> str | None:
    """The reason for which the file is refused, if it is; AssertionError where it does any harm."""
    work = folder / "work"
    work.mkdir()
    source = work / "original"
    write(source)
    before = source.read_bytes()

    outcome = decode(sandbox, source, kind)

    assert_sound(outcome, work)
    assert outcome.peak_bytes < MOST_BYTES
    assert source.read_bytes() == before
    assert list(folder.iterdir()) == [work]
    return outcome.reason


@pytest.mark.parametrize(("kind", "name"), WORK, ids=[name for _, name in WORK])
def test_generated_file_does_no_harm(sandbox: Sandbox, tmp_path: Path, kind: str, name: str) -> None:
    write = (hostile_media.IMAGES if kind == "image" else hostile_media.RECORDINGS)[name]
    reason = check(sandbox, tmp_path, kind, write)
    if name in TELLING:
        assert reason
        assert TELLING[name] in reason


@needs_real_media()
@pytest.mark.parametrize("kind", ["image", "video"])
@pytest.mark.parametrize("original", real_media("hostile"), ids=lambda path: path.name)
def test_real_hostile_file_does_no_harm(sandbox: Sandbox, tmp_path: Path, original: Path, kind: str) -> None:
    reason = check(sandbox, tmp_path, kind, lambda path: path.write_bytes(original.read_bytes()))
    if original.name != "ex_image01551.jpg" or kind == "video":  # only its EXIF is broken
        assert reason
