"""Whether a rendition is what it should be: it opens, stands upright, lasts as long, tells no place."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageOps

from kinstream_devkit.demo.findings import RenditionFile
from kinstream_devkit.demo.media_parts import cues_of, length_seconds, media_of, playlists_of

_ASPECT_TOLERANCE = 0.03
_DURATION_TOLERANCE_SECONDS = 0.4
_LOCATION_MARKS = {
    "an MP4 place (\\xa9xyz)": b"\xa9xyz",
    "a 3GPP place (loci)": b"loci",
    "an Apple place": b"com.apple.quicktime.location",
    "EXIF": b"Exif\x00\x00",
    "EXIF in WebP": b"EXIF",
    "XMP": b"http://ns.adobe.com/xap/",
}

_FIRST_BOXES = {b"ftyp", b"styp"}
_BOX_HEAD_BYTES = 8

Check = tuple[str, Callable[[], bool]]


@dataclass(frozen=True, slots=True)
class Source:
    """What is known of a file that goes in: the shape it is shown in, and how long it lasts."""

    is_video: bool
    width: float
    height: float
    duration_seconds: float | None
    has_audio: bool
    is_scene: bool
    """A generated one, whose colours tell which way is up."""

    @property
    def aspect(self) -> float:
        """Width by height, as shown."""
        return self.width / self.height


def probe_source(path: Path, *, is_scene: bool) -> Source | None:
    """Facts of a file; None where it is no media that can be read here."""
    try:
        with Image.open(path) as image:
            shown = ImageOps.exif_transpose(image)
        return Source(False, shown.width, shown.height, None, False, is_scene)
    except (OSError, ValueError, Image.DecompressionBombError):
        pass
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                return None
            width, height, _ = _shown(container)
            return Source(
                True, width, height, _duration_seconds(container), bool(container.streams.audio), is_scene
            )
    except (av.FFmpegError, ValueError):
        return None


def problems_of(rendition: RenditionFile, source: Source) -> Iterator[str | None]:
    """What each check says: None where all is well, else a sentence."""
    for what, check in _checks_of(rendition, source):
        try:
            good = check()
        except Exception as error:  # noqa: BLE001 - whatever a broken file does to a decoder is a finding
            yield f"{rendition.name}: {what}: {error}"
        else:
            yield None if good else f"{rendition.name}: {what}"
    carriers = [_without_media(data) for data in (rendition.data, *rendition.parts.values())]
    for what, mark in _LOCATION_MARKS.items():
        yield f"{rendition.name}: carries {what}" if any(mark in data for data in carriers) else None


def _checks_of(rendition: RenditionFile, source: Source) -> list[Check]:
    # By name: a preview is a video and a square a picture like others.
    match rendition.name:
        case "hls":
            return _checks_of_stream(rendition, source)
        case "storyboard":
            return _checks_of_storyboard(rendition, source)
        case "preview":
            return _checks_of_preview(rendition, source)
    if rendition.content_type.startswith("video/"):
        return _checks_of_video(rendition, source)
    return _checks_of_image(rendition, source) if rendition.content_type.startswith("image/") else []


def _checks_of_video(rendition: RenditionFile, source: Source) -> list[Check]:
    seen = _Seen(rendition.data)

    def codecs() -> bool:
        kinds = seen.codecs()
        return kinds.get("video") == "h264" and (kinds.get("audio") == "aac") == source.has_audio

    lasts = source.duration_seconds or 0
    return [
        ("is not H.264 with AAC", codecs),
        (
            "does not last as long as the source",
            lambda: abs(seen.duration_seconds() - lasts) <= _DURATION_TOLERANCE_SECONDS,
        ),
        *_checks_of_picture(rendition.data, seen, source),
    ]


def _checks_of_preview(rendition: RenditionFile, source: Source) -> list[Check]:
    seen = _Seen(rendition.data)
    longest = (source.duration_seconds or 0) + _DURATION_TOLERANCE_SECONDS
    return [
        ("is not H.264 without sound", lambda: seen.codecs() == {"video": "h264"}),
        ("lasts longer than the source", lambda: 0 < seen.duration_seconds() <= longest),
        *_checks_of_picture(rendition.data, seen, source),
    ]


def _checks_of_picture(data: bytes, seen: "_Seen", source: Source) -> list[Check]:
    checks: list[Check] = [
        ("is not shaped as the source is shown", lambda: _same_aspect(seen.aspect(), source)),
        (
            "cannot start before it is loaded (no faststart)",
            lambda: 0 < data.find(b"moov") < data.find(b"mdat"),
        ),
    ]
    return [*checks, ("does not stand upright", seen.is_upright)] if source.is_scene else checks


def _checks_of_stream(rendition: RenditionFile, source: Source) -> list[Check]:
    names = playlists_of(rendition.data)
    lasts = source.duration_seconds or 0

    def as_long(name: str) -> bool:
        # Segments of sound end where a packet does, those of pictures where a picture does.
        return abs(length_seconds(rendition.parts[name]) - lasts) <= 2 * _DURATION_TOLERANCE_SECONDS

    def plays(name: str) -> bool:
        media = b"".join(rendition.parts[file] for file in media_of(rendition.parts[name]))
        return bool(_Seen(media).codecs())

    checks: list[Check] = [("names no streams", lambda: bool(names))]
    for number, name in enumerate(names, 1):
        checks += [
            (f"stream {number} does not last as long as the source", partial(as_long, name)),
            (f"stream {number} cannot be opened", partial(plays, name)),
        ]
    return checks


def _checks_of_storyboard(rendition: RenditionFile, source: Source) -> list[Check]:
    cues = cues_of(rendition.data)
    lasts = source.duration_seconds or 0

    def inside() -> bool:
        sizes = {name: Image.open(io.BytesIO(data)).size for name, data in rendition.parts.items()}
        return all(
            cue.x + cue.width <= sizes[cue.sheet][0] and cue.y + cue.height <= sizes[cue.sheet][1]
            for cue in cues
        )

    def covering() -> bool:
        pairs = pairwise(cues)
        return (
            cues[0].start_seconds == 0
            and all(before.end_seconds == after.start_seconds for before, after in pairs)
            and cues[-1].end_seconds >= lasts - _DURATION_TOLERANCE_SECONDS
        )

    def upright() -> bool:
        cue = cues[len(cues) // 2]
        area = (cue.x, cue.y, cue.x + cue.width, cue.y + cue.height)
        return is_upright(Image.open(io.BytesIO(rendition.parts[cue.sheet])).crop(area))

    checks: list[Check] = [
        ("names no pictures", lambda: bool(cues)),
        ("names pictures outside of its sheet", inside),
        ("does not cover the video from start to end", covering),
        (
            "is not shaped as the source is shown",
            # A small picture's sides are whole, and even, pixels.
            lambda: abs(cues[0].width / cues[0].height / source.aspect - 1) <= 2 * _ASPECT_TOLERANCE,
        ),
    ]
    return [*checks, ("does not stand upright", upright)] if source.is_scene else checks


def _checks_of_image(rendition: RenditionFile, source: Source) -> list[Check]:
    def opened() -> Image.Image:
        image = Image.open(io.BytesIO(rendition.data))
        image.load()
        return image.convert("RGB")

    checks: list[Check] = [
        ("is not as large as it says", lambda: opened().size == (rendition.width, rendition.height)),
        ("has EXIF", lambda: not Image.open(io.BytesIO(rendition.data)).getexif()),
    ]
    if rendition.name == "square":
        return [*checks, ("is not square", lambda: opened().width == opened().height)]
    checks.append(
        (
            "is not shaped as the source is shown",
            lambda: _same_aspect(opened().width / opened().height, source),
        )
    )
    return [*checks, ("does not stand upright", lambda: is_upright(opened()))] if source.is_scene else checks


class _Seen:
    """A recording as a decoder sees it. Each question opens it anew: one that fails fails its own check."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def codecs(self) -> dict[str, str]:
        """Codec by kind of stream."""
        with av.open(io.BytesIO(self._data)) as container:
            return {stream.type: stream.codec_context.name for stream in container.streams}

    def duration_seconds(self) -> float:
        """How long it says that it lasts."""
        with av.open(io.BytesIO(self._data)) as container:
            return _duration_seconds(container)

    def aspect(self) -> float:
        """Width by height, as shown."""
        with av.open(io.BytesIO(self._data)) as container:
            width, height, _ = _shown(container)
        return width / height

    def is_upright(self) -> bool:
        """Whether its first picture is."""
        with av.open(io.BytesIO(self._data)) as container:
            return is_upright(_shown(container)[2])


def _without_media(data: bytes) -> bytes:
    """A file without its pictures and sound, in whose bytes any four letters turn up sooner or later."""
    if data[4:8] not in _FIRST_BOXES:
        return data
    kept, at = [], 0
    while at + _BOX_HEAD_BYTES <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        end = at + size if size >= _BOX_HEAD_BYTES else len(data)
        if data[at + 4 : at + 8] != b"mdat":
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def _same_aspect(aspect: float, source: Source) -> bool:
    return abs(aspect / source.aspect - 1) <= _ASPECT_TOLERANCE


def _duration_seconds(container: Any) -> float:
    return float(container.duration or 0) / av.time_base


def _shown(container: Any) -> tuple[float, float, Image.Image]:
    """Width and height as a player shows the video, and its first picture so."""
    stream = container.streams.video[0]
    frame = next(container.decode(stream))
    shape = float(stream.sample_aspect_ratio or 1) or 1.0
    picture: Image.Image = frame.to_image()
    picture = picture.resize((round(picture.width * shape), picture.height))
    # A frame's rotation is counterclockwise, as Image.rotate takes it.
    picture = picture.rotate(frame.rotation, expand=True)
    return picture.width, picture.height, picture


def is_upright(scene: Image.Image) -> bool:
    """Whether the generated scene has its sky above, its ground below and its sun in the upper left."""
    small = scene.convert("RGB").resize((60, round(60 * scene.height / scene.width)))
    width, height = small.size
    unit = min(width, height) / 10

    def color(x: float, y: float) -> tuple[int, int, int]:
        pixel = small.getpixel((int(x), int(y)))
        assert isinstance(pixel, tuple)
        return pixel[0], pixel[1], pixel[2]

    red, green, blue = color(width * 0.97, height * 0.03)
    sky = blue > red and blue > green
    red, green, blue = color(width * 0.03, height * 0.97)
    ground = green > red and green > blue
    red, green, blue = color(1.5 * unit, 1.5 * unit)
    sun = red > blue and green > blue
    return sky and ground and sun
