"""Renditions that name other files: playlists and storyboards, and what they name."""

import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import urldefrag, urljoin

Download = Callable[[str], Awaitable[bytes]]

_CUE = re.compile(
    r"^(?P<start>[\d:.]+) --> (?P<end>[\d:.]+)[^\n]*\n(?P<target>\S+)#xywh=(?P<area>\d+,\d+,\d+,\d+)\s*$",
    re.MULTILINE,
)
_MAP = re.compile(r'^#EXT-X-MAP:.*URI="([^"]+)"', re.MULTILINE)
_SOUND = re.compile(r'^#EXT-X-MEDIA:.*URI="([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Cue:
    """A picture of a storyboard: from when to when it stands for the video, and where in the sheet it is."""

    start_seconds: float
    end_seconds: float
    sheet: str
    x: int
    y: int
    width: int
    height: int


def cues_of(vtt: bytes) -> list[Cue]:
    """The pictures that a WebVTT storyboard names, in its order."""
    found = []
    for cue in _CUE.finditer(vtt.decode(errors="replace").replace("\r\n", "\n")):
        x, y, width, height = map(int, cue["area"].split(","))
        start, end = _seconds(cue["start"]), _seconds(cue["end"])
        found.append(Cue(start, end, cue["target"], x, y, width, height))
    return found


def playlists_of(master: bytes) -> list[str]:
    """The playlists that a master playlist names: pictures first, then sound."""
    text = master.decode(errors="replace")
    return [*_files_of(text), *_SOUND.findall(text)]


def media_of(playlist: bytes) -> list[str]:
    """The media files that a playlist names, each once."""
    text = playlist.decode(errors="replace")
    return list(dict.fromkeys([*_MAP.findall(text), *_files_of(text)]))


def length_seconds(playlist: bytes) -> float:
    """What the segments of a playlist come to."""
    text = playlist.decode(errors="replace")
    return sum(float(length) for length in re.findall(r"^#EXTINF:([\d.]+)", text, re.MULTILINE))


async def parts_of(kind: str, url: str, data: bytes, download: Download) -> dict[str, bytes]:
    """What a storyboard or master playlist names, and what that names, by the names they have there."""
    if kind == "storyboard":
        sheets = dict.fromkeys(cue.sheet for cue in cues_of(data))
        return {sheet: await download(urldefrag(urljoin(url, sheet)).url) for sheet in sheets}
    if kind != "hls":
        return {}
    found: dict[str, bytes] = {}
    for name in playlists_of(data):
        address = urljoin(url, name)
        found[name] = await download(address)
        for media in media_of(found[name]):
            found[media] = await download(urljoin(address, media))
    return found


def _files_of(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _seconds(clock: str) -> float:
    seconds = 0.0
    for part in clock.split(":"):
        seconds = seconds * 60 + float(part)
    return seconds
