"""What ffprobe and ffmpeg say of a recording."""

import json
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image


def told(path: Path) -> dict[str, Any]:
    """What ffprobe says: `format`, and the `streams` by their kind."""
    raw = _run("ffprobe", "-v", "error", "-show_format", "-show_streams", "-of", "json", str(path))
    found = json.loads(raw)
    streams = {stream["codec_type"]: stream for stream in found["streams"]}
    return {"format": found["format"], "streams": streams, "count": len(found["streams"])}


def keyframe_seconds(path: Path) -> list[float]:
    """When a picture can be decoded by itself."""
    raw = _run(
        *("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time,flags"),
        *("-of", "csv=p=0", str(path)),
    )
    rows = [line.split(",") for line in raw.decode().split()]
    return sorted(float(row[0]) for row in rows if row[1].startswith("K"))


def complaints(path: Path) -> str:
    """What ffmpeg says when it decodes all of it; nothing where it plays to the end."""
    done = subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0", "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return done.stderr if done.returncode == 0 else f"exit {done.returncode}: {done.stderr}"


def picture(path: Path, at_seconds: float = 0.0) -> Image.Image:
    """The picture as ffmpeg shows it at a time: turned as the file says, with square pixels."""
    raw = _run(
        *(
            "ffmpeg",
            "-nostdin",
            "-v",
            "error",
            *(["-ss", str(at_seconds)] if at_seconds else []),
            "-i",
            str(path),
            "-frames:v",
            "1",
        ),
        *("-vf", "scale=trunc(iw*sar+0.5):ih", "-f", "image2pipe", "-c:v", "png", "-"),
    )
    return Image.open(BytesIO(raw)).convert("RGB")


def frame_hashes(path: Path) -> list[str]:
    """A hash of each decoded picture."""
    raw = _run("ffmpeg", "-nostdin", "-v", "error", "-i", str(path), "-map", "0:v", "-f", "framemd5", "-")
    return [line.rsplit(",", 1)[1].strip() for line in raw.decode().splitlines() if line[:1] != "#"]


def shown_seconds(path: Path) -> list[float]:
    """When each picture is shown."""
    raw = _run(
        *("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=pts_time"),
        *("-of", "csv=p=0", str(path)),
    )
    return sorted(float(line.strip(",")) for line in raw.decode().split())


def silence_end(path: Path) -> float:
    """When the first sound is heard, after silence."""
    said = _heard(path, "silencedetect=n=-40dB:d=0.1")
    return float(said.partition("silence_end: ")[2].split()[0])


def loudness(path: Path) -> float:
    """In LUFS, over all of it."""
    return float(_heard(path, "ebur128").rpartition("I:")[2].split()[0])


def _heard(path: Path, audio_filter: str) -> str:
    command = ["ffmpeg", "-nostdin", "-i", str(path), "-af", audio_filter, "-f", "null", "-"]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True).stderr


def _run(*command: str) -> bytes:
    done = subprocess.run(command, capture_output=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


def write_interlaced(path: Path) -> None:
    """A second as camcorders record it: each picture of two halves, one a moment after the other."""
    _run(
        *("ffmpeg", "-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc2=s=160x120:r=50:d=1"),
        *(
            "-vf",
            "interlace",
            "-c:v",
            "mpeg2video",
            "-flags",
            "+ilme+ildct",
            "-b:v",
            "1M",
            "-f",
            "mpegts",
            str(path),
        ),
    )


def write_edited(source: Path, path: Path, from_seconds: float) -> None:
    """The recording from a time on, as phones cut it: all is still there, and a list says what is shown."""
    _run(
        *("ffmpeg", "-nostdin", "-v", "error", "-ss", str(from_seconds), "-i", str(source)),
        *("-c", "copy", str(path)),
    )


def interlaced_pictures(path: Path) -> int:
    """How many pictures are of two halves."""
    raw = _run(
        *("ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=interlaced_frame"),
        *("-of", "csv=p=0", str(path)),
    )
    return sum(line.strip(",") == "1" for line in raw.decode().split())
