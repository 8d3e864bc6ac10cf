"""What is made here plays in a browser: a real Chromium, a real player of HLS, a page of another origin."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from kinstream_devkit.demo.client import DemoClient
from kinstream_devkit.generate.media import write_phone_video
from kinstream_devkit.media_files import send_file, wait_until_final
from media_worker.domain.options import RecordingOptions
from tests.support.browser import open_page
from tests.support.media_samples import write_h264
from tests.support.node_clients import PROGRAMS, installed_clients
from tests.support.stack import RunningStack

pytestmark = pytest.mark.xdist_group("stack")
CLIP_SECONDS = 3
READY_SECONDS = 300
TOLD_SECONDS = 180
RATE = 2
"""How fast it is played: nobody watches."""


async def made_of(stack: RunningStack, path: Path) -> dict[str, dict[str, Any]]:
    """Renditions of a file by name, as the API tells them."""
    async with DemoClient(stack.url, stack.write_key, stack.secret_key) as client:
        media_id = await send_file(client, path, "fam-playback")
        item = await wait_until_final(client, media_id, READY_SECONDS)
    assert item["state"] == "ready", item["reason"]
    return {made["name"]: made for made in item["renditions"]}


def played(sources: list[dict[str, str]], folder: Path) -> list[dict[str, Any]]:
    """What a page saw of each source when it played it."""
    profile = folder / "profile"
    profile.mkdir()
    player = {"hls": installed_clients() / "node_modules" / "hls.js" / "dist"}
    config = {"sources": sources, "rate": RATE}
    with open_page(PROGRAMS / "player.html", player, config, profile) as page:
        return [page.told(TOLD_SECONDS) for _ in sources]


def check(seen: dict[str, Any], width: int, height: int) -> None:
    """Whether a person would have seen all of it."""
    assert seen["errors"] == []
    assert seen["ended"]
    assert seen["times"] == sorted(seen["times"])
    assert len(set(seen["times"])) > 2, "it stands still"
    assert seen["times"][-1] == pytest.approx(CLIP_SECONDS, abs=0.3)
    assert seen["duration"] == pytest.approx(CLIP_SECONDS, abs=0.3)
    assert (seen["width"], seen["height"]) == (width, height)
    assert seen["frames"] > 0
    assert seen["sound"] > 0


def write_large_clip(path: Path) -> None:
    """A short clip that is as large as those that are offered as a stream: with room left for nothing."""
    write_h264(path, size=(854, 480), seconds=CLIP_SECONDS)
    room_bytes = RecordingOptions().hls_from_bytes
    with path.open("ab") as file:
        file.write(room_bytes.to_bytes(4, "big") + b"free" + bytes(room_bytes - 8))


def test_stream_in_several_sizes_plays_to_its_end_in_a_browser(stack: RunningStack, tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    write_large_clip(clip)
    made = asyncio.run(made_of(stack, clip))
    (seen,) = played([{"kind": "hls", "url": made["hls"]["url"]}], tmp_path)
    check(seen, 854, 480)
    assert len(seen["levels"]) > 1
    assert all(width <= 854 and height <= 480 for width, height in seen["levels"])


def test_video_of_a_phone_that_was_held_upright_plays_to_its_end_in_a_browser(
    stack: RunningStack, tmp_path: Path
) -> None:
    clip = tmp_path / "clip.3gp"
    write_phone_video(clip, CLIP_SECONDS, "cif", turned=90)
    made = asyncio.run(made_of(stack, clip))
    (seen,) = played([{"kind": "video", "url": made["video"]["url"]}], tmp_path)
    assert seen["can"] == "probably", "this browser has no H.264 and AAC"
    # Its pixels are 12:11: the shorter side is wider on a screen than in the file.
    check(seen, 288, 384)
