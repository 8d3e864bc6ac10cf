"""Files of media as programs of others see them: ffmpeg's and exiftool, none of our own code."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REQUIRED = "KINSTREAM_TESTS_REQUIRE_MEDIA_TOOLS"
"""Set where missing tools are to fail the tests that need them, not skip them."""

_SECONDS = 300
_TOOLS = ("ffmpeg", "ffprobe", "exiftool")
_GRID = 24
_TELLING_GROUPS = re.compile(r"GPS|XMP|IPTC|MakerNotes|Photoshop|EXIF|ExifIFD|IFD\d|Keys|ItemList|UserData")
_TELLING_NAMES = re.compile(
    r"gps|location|latitude|longitude|^make$|model|serial|author|artist|owner|software|comment|android|date",
    re.IGNORECASE,
)
_HARMLESS_NAMES = frozenset({"Encoder"})
"""The muxer that wrote a file: it is ours and tells nothing of a person."""
_NO_DATE = "0000:00:00 00:00:00"


def require_tools() -> None:
    """Skip the test where a tool is missing, or fail it where they are required."""
    lacking = [tool for tool in _TOOLS if not shutil.which(tool)]
    if not lacking:
        return
    why = f"not installed: {', '.join(lacking)}"
    if os.environ.get(REQUIRED):
        pytest.fail(f"{why}, and {REQUIRED} is set")
    pytest.skip(why)


@dataclass(frozen=True)
class Seen:
    """A recording or picture as ffprobe sees it."""

    codecs: dict[str, str]
    """By kind of stream; data streams of phones are left out."""
    claimed_seconds: float
    """How long it says that it lasts, or what its size suggests where it says nothing."""
    played_seconds: float
    """Until when there is a picture or sound that can be decoded."""
    width: float
    """As shown: turned, and with its pixels as wide as they are."""
    height: float
    last_picture_seconds: float
    """When the last picture that can be decoded is due."""
    complaints: str
    """What was wrong with it, in the tool's words."""


def look_at(path: Path) -> Seen:
    """Decode all of a file's pictures and sound, and tell."""
    done = _run(
        [
            *("ffprobe", "-v", "error", "-of", "json", "-show_entries"),
            "format=duration:stream=codec_type,codec_name,width,height,sample_aspect_ratio"
            ":stream_side_data=rotation:frame=media_type,pts_time,pkt_duration_time:frame_side_data=rotation",
            str(path),
        ]
    )
    told = json.loads(done.stdout)
    streams = [one for one in told["streams"] if one.get("codec_type") in {"video", "audio"}]
    pictures = next((one for one in streams if one["codec_type"] == "video"), None)
    frames = [one for one in told.get("frames", []) if one.get("media_type") == "video"]
    width, height = _shown(pictures, frames[:1]) if pictures else (0.0, 0.0)
    return Seen(
        codecs={one["codec_type"]: one["codec_name"] for one in streams},
        claimed_seconds=float(told["format"].get("duration", 0)),
        played_seconds=max(map(_end_seconds, told.get("frames", [])), default=0.0),
        width=width,
        height=height,
        last_picture_seconds=max((float(one.get("pts_time", 0)) for one in frames), default=0.0),
        complaints=done.stderr.strip(),
    )


def _end_seconds(frame: dict[str, Any]) -> float:
    return float(frame.get("pts_time", 0)) + float(frame.get("pkt_duration_time", 0))


def _shown(stream: dict[str, Any], first_frame: Sequence[dict[str, Any]]) -> tuple[float, float]:
    across, _, down = stream.get("sample_aspect_ratio", "1:1").partition(":")
    shape = float(across) / float(down) if down and float(across) and float(down) else 1.0
    width, height = stream["width"] * shape, float(stream["height"])
    # A recording says with its stream that it is turned, a photo with its one picture.
    sides = [side for told in (stream, *first_frame) for side in told.get("side_data_list", [])]
    turned = any(abs(side.get("rotation", 0)) in {90, 270} for side in sides)
    return (height, width) if turned else (width, height)


@cache
def grid_at(path: Path, seconds: float) -> np.ndarray:
    """The picture at a time as a few grey fields, as a player shows it, with mean 0 and deviation 1."""
    done = subprocess.run(
        [
            *("ffmpeg", "-v", "error", "-nostdin", *(("-ss", str(seconds)) if seconds else ())),
            *("-i", str(path), "-frames:v", "1"),
            *("-vf", f"scale={_GRID}:{_GRID}:flags=area,format=gray", "-f", "rawvideo", "-"),
        ],
        capture_output=True,
        timeout=_SECONDS,
        check=False,
    )
    assert len(done.stdout) >= _GRID * _GRID, done.stderr.decode()
    grid = np.frombuffer(done.stdout[: _GRID * _GRID], np.uint8).astype(float).reshape(_GRID, _GRID)
    return (grid - grid.mean()) / (grid.std() or 1.0)


def alike(one: np.ndarray, other: np.ndarray) -> float:
    """1 for the same picture, about 0 for a turned or mirrored one."""
    return float((one * other).mean())


def telling_tags(paths: Sequence[Path]) -> dict[str, list[str]]:
    """What exiftool finds in files that may tell a place, a device, a person or a time; by file name."""
    told = json.loads(_run(["exiftool", "-json", "-G1", "-ee", *map(str, paths)]).stdout)
    found = {
        Path(one["SourceFile"]).name: [
            f"{key}={value}" for key, value in one.items() if ":" in key and _tells(*key.split(":", 1), value)
        ]
        for one in told
    }
    return {name: tags for name, tags in found.items() if tags}


def _tells(group: str, name: str, value: object) -> bool:
    if group in {"System", "File", "ExifTool", "Composite"} and "GPS" not in name:
        return False
    if name in _HARMLESS_NAMES or str(value) in {_NO_DATE, ""}:
        return False
    return bool(_TELLING_GROUPS.search(group) or _TELLING_NAMES.search(name))


def _run(command: Iterable[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(command), capture_output=True, text=True, timeout=_SECONDS, check=False, stdin=subprocess.DEVNULL
    )
