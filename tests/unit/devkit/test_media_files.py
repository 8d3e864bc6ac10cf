"""What kind of file something is, and what `kinstream media put` says of several."""

from pathlib import Path

import pytest

from kinstream_devkit.media_put import Board
from kinstream_devkit.media_types import content_type_of

HEADS = {
    "photo.mp4": (b"\xff\xd8\xff\xe0", "image/jpeg"),
    "clip.3gp": (b"\0\0\0\x18ftyp3gp4", "video/3gpp"),
    "clip": (b"\0\0\0\x18ftyp3g2a", "video/3gpp2"),
    "clip.MOV": (b"\0\0\0\x14ftypqt  ", "video/quicktime"),
    "clip.mp4": (b"\0\0\0\x18ftypisom", "video/mp4"),
    "song.m4a": (b"\0\0\0\x18ftypisom", "audio/mp4"),
    "live.heic": (b"\0\0\0\x18ftypheic", "image/heic"),
    "live.avif": (b"\0\0\0\x18ftypavif", "image/avif"),
    "old.heic": (b"\0\0\0\x18mdat", "image/heic"),
    "voice": (b"#!AMR\n", "audio/amr"),
    "clip.webm": (b"\x1aE\xdf\xa3", "video/webm"),
    "clip.mkv": (b"\x1aE\xdf\xa3", "video/x-matroska"),
    "web.jpg": (b"RIFF\0\0\0\0WEBP", "image/webp"),
    "clip.avi": (b"RIFF\0\0\0\0AVI ", "video/x-msvideo"),
    "song.mp3": (b"\xff\xfb\x90\0", "audio/mpeg"),
    "text.jpg": (b"Dear diary", "image/jpeg"),
    "text.txt": (b"Dear diary", None),
    "nothing": (b"", None),
}


@pytest.mark.parametrize("name", HEADS)
def test_content_type_comes_from_the_first_bytes_and_else_from_the_name(tmp_path: Path, name: str):
    head, expected = HEADS[name]
    (tmp_path / name).write_bytes(head)
    assert content_type_of(tmp_path / name) == expected


def test_the_progress_of_several_files_is_one_line_that_counts_to_the_end(tmp_path: Path):
    files = [tmp_path / name for name in ("one.jpg", "two.3gp")]
    for path in files:
        path.write_bytes(bytes(3_000_000))
    said: list[str] = []
    board = Board(files, said.append)
    board.sent(0, 1_500_000)
    board.sent(1, 3_000_000)
    board.worked(0, 90)
    board.ended(0)
    board.worked(1, 10)
    assert said == [
        "sending one.jpg [###############...............] 1.5 MB of 3.0 MB, 0 of 2 files done",
        "sending two.3gp [##############################] 3.0 MB of 3.0 MB, 0 of 2 files done",
        "waiting for one.jpg [###########################...] 90 %, 0 of 2 files done",
        "waiting for two.3gp [###...........................] 10 %, 1 of 2 files done",
    ]
