"""What the page shows of media: which files of which item, within a bound on the page's size."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field

from kinstream_devkit.demo.findings import MediaResult, RenditionFile
from kinstream_devkit.demo.media_parts import Cue, cues_of
from kinstream_devkit.media_types import content_type_in

MOST_BYTES = 9_000_000
"""Of all files that are in the page; each item has the same share of it."""

_LARGEST_PICTURE_BYTES = 400_000
_LARGEST_RECORDING_BYTES = 3_000_000
_MOST_THUMBNAILS = 6
_MOST_TILES = 12
_TYPES = ("image/jpeg", "image/webp", "image/avif", "image/png")
"""Of pictures, the one that every browser shows first."""


@dataclass(frozen=True, slots=True)
class Strip:
    """Pictures of a storyboard that lie on one sheet, which is in the page once."""

    address: str
    cues: list[Cue]


@dataclass(slots=True)
class Exhibit:
    """An item in the gallery. Addresses hold their files."""

    result: MediaResult
    addresses: dict[str, str] = field(default_factory=dict)
    """Of the renditions that are in the page, by their names."""
    picture: RenditionFile | None = None
    """The largest: of a photo what is shown, of a video its poster."""
    recording: RenditionFile | None = None
    """What plays."""
    preview: RenditionFile | None = None
    thumbnails: list[RenditionFile] = field(default_factory=list)
    strips: list[Strip] = field(default_factory=list)


def exhibits_of(results: Sequence[MediaResult], most_bytes: int = MOST_BYTES) -> list[Exhibit]:
    """An exhibit an item. What does not fit is left out of the page, its poster and photo last."""
    return [_exhibit(result, most_bytes // len(results)) for result in results]


def data_uri(content_type: str, data: bytes) -> str:
    """A file inside of an address."""
    return f"data:{content_type};base64,{base64.b64encode(data).decode()}"


def _exhibit(result: MediaResult, room_bytes: int) -> Exhibit:
    exhibit = Exhibit(result)
    room = _Room(room_bytes)
    whole = [one for one in _pictures(result) if one.name != "square"]
    exhibit.picture = next((one for one in whole if room.takes(one.data, _LARGEST_PICTURE_BYTES)), None)
    for storyboard in (one for one in result.renditions if one.kind == "storyboard"):
        exhibit.strips += _strips(storyboard, room)
    recordings = [one for one in result.renditions if one.content_type.startswith(("video/", "audio/"))]
    playable = [one for one in recordings if one.name in {"video", "audio"}]
    previews = [one for one in recordings if one.name == "preview"]
    exhibit.preview = next((one for one in previews if room.takes(one.data, _LARGEST_PICTURE_BYTES)), None)
    others = [one for one in _pictures(result) if one is not exhibit.picture]
    exhibit.thumbnails = [one for one in others if room.takes(one.data, _LARGEST_PICTURE_BYTES)][
        :_MOST_THUMBNAILS
    ]
    exhibit.recording = next(
        (one for one in playable if room.takes(one.data, _LARGEST_RECORDING_BYTES)), None
    )
    shown = [exhibit.picture, exhibit.preview, exhibit.recording, *exhibit.thumbnails]
    exhibit.addresses = {one.name: data_uri(one.content_type, one.data) for one in shown if one}
    return exhibit


class _Room:
    """What an item may still bring into the page."""

    def __init__(self, left_bytes: int) -> None:
        self._left_bytes = left_bytes

    def takes(self, data: bytes, most_bytes: int) -> bool:
        """Whether it goes in; then there is less room for the next."""
        if len(data) > min(most_bytes, self._left_bytes):
            return False
        self._left_bytes -= len(data)
        return True


def _pictures(result: MediaResult) -> list[RenditionFile]:
    """Pictures that a browser shows, the largest first."""
    found = [one for one in result.renditions if one.content_type in _TYPES]
    return sorted(found, key=lambda one: (-(one.width or 0), _TYPES.index(one.content_type)))


def _strips(storyboard: RenditionFile, room: _Room) -> list[Strip]:
    shown = _spread(cues_of(storyboard.data), _MOST_TILES)
    return [
        Strip(
            data_uri(content_type_in(data) or "image/jpeg", data), [cue for cue in shown if cue.sheet == name]
        )
        for name, data in storyboard.parts.items()
        if any(cue.sheet == name for cue in shown) and room.takes(data, _LARGEST_PICTURE_BYTES)
    ]


def _spread(cues: list[Cue], most: int) -> list[Cue]:
    """At most so many of them, from all over the video."""
    count = min(most, len(cues))
    return [cues[number * len(cues) // count] for number in range(count)]


def clock_text(seconds: float) -> str:
    """A place in a recording, as players show it."""
    minutes, rest = divmod(round(seconds, 1), 60)
    return f"{minutes:.0f}:{rest:04.1f}"
