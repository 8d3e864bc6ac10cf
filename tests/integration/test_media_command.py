"""`kinstream media` on a running stack, as a user calls it."""

import json
import re
from pathlib import Path

import pytest

from kinstream_devkit.generate.media import write_phone_video, write_photo
from tests.support.stack import RunningStack, eventually, kinstream

pytestmark = pytest.mark.xdist_group("stack")
ID = re.compile(r"[0-9a-f]{32}")


def media(stack: RunningStack, *arguments: str | Path):
    return kinstream("media", *map(str, arguments), "--data-dir", str(stack.data_dir))


def test_files_go_up_and_each_ends_with_a_line_of_what_came_of_it(
    stack: RunningStack, tmp_path: Path
) -> None:
    clip, photo, text = tmp_path / "clip.3gp", tmp_path / "photo.jpg", tmp_path / "text.jpg"
    empty, unknown = tmp_path / "empty.jpg", tmp_path / "notes.txt"
    write_phone_video(clip, seconds=1, size="qcif")
    write_photo(photo, 400, 300, orientation=6)
    text.write_text("Dear diary")
    empty.touch()
    unknown.write_text("Dear diary")
    done = media(stack, "put", "--customer", "fam-put", clip, photo, text, empty, unknown)
    assert done.returncode == 1, done.stderr
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert lines["clip.3gp"].startswith("ready, ")
    assert "video" in lines["clip.3gp"]
    assert "image-256" in lines["photo.jpg"]
    assert lines["text.jpg"].startswith("failed: ")
    assert lines["empty.jpg"] == "not sent: it is empty"
    assert "neither its content nor its name" in lines["notes.txt"]

    found = ID.search(lines["clip.3gp"])
    assert found
    shown = media(stack, "show", found[0])
    assert shown.returncode == 0, shown.stderr
    assert f"{found[0]} of customer fam-put" in shown.stdout
    assert re.search(r"^video: http", shown.stdout, re.MULTILINE)
    answer = json.loads(media(stack, "show", found[0], "--json").stdout)
    assert {"video", "poster"} <= {made["name"] for made in answer["renditions"]}


def test_a_file_need_not_be_waited_for_and_can_be_looked_at_later(
    stack: RunningStack, tmp_path: Path
) -> None:
    photo = tmp_path / "photo.jpg"
    write_photo(photo, 400, 300, orientation=1)
    where = ("--url", stack.url, "--secret-key", stack.secret_key)
    done = kinstream("media", "put", "--no-wait", str(photo), *where)
    assert done.returncode == 0, done.stderr
    found = ID.search(done.stdout)
    assert found
    assert done.stdout == f"photo.jpg: sent as {found[0]}\n"
    eventually(lambda: "\nready\n" in media(stack, "show", found[0]).stdout, "the photo is ready")


def test_what_cannot_be_had_is_said_in_a_sentence(stack: RunningStack, tmp_path: Path) -> None:
    unknown = media(stack, "show", "nothing-of-this-name")
    assert unknown.returncode == 2
    assert "404 not_found" in unknown.stderr
    nowhere = kinstream("media", "show", "x", "--data-dir", str(tmp_path))
    assert nowhere.returncode == 2
    assert "start it with `kinstream up`" in nowhere.stderr
    assert "Traceback" not in unknown.stderr + nowhere.stderr
