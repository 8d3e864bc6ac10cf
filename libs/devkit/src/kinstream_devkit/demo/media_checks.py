"""Whether a rendition is what it should be: it opens, stands upright, lasts as long, tells no place."""

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageOps

from kinstream_devkit.demo.findings import RenditionFile

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
    is_video = rendition.content_type.startswith("video/")
    for what, check in (
        _checks_of_video(rendition, source) if is_video else _checks_of_image(rendition, source)
    ):
        try:
            good = check()
        except Exception as error:  # noqa: BLE001 - whatever a broken file does to a decoder is a finding
            yield f"{rendition.name}: {what}: {error}"
        else:
            yield None if good else f"{rendition.name}: {what}"
    for what, mark in _LOCATION_MARKS.items():
        yield f"{rendition.name}: carries {what}" if mark in rendition.data else None


def _checks_of_video(rendition: RenditionFile, source: Source) -> list[Check]:
    data = rendition.data

    def codecs() -> bool:
        with av.open(io.BytesIO(data)) as container:
            kinds = {stream.type: stream.codec_context.name for stream in container.streams}
        return kinds.get("video") == "h264" and (kinds.get("audio") == "aac") == source.has_audio

    def duration() -> bool:
        with av.open(io.BytesIO(data)) as container:
            found = _duration_seconds(container)
        return abs(found - (source.duration_seconds or 0)) <= _DURATION_TOLERANCE_SECONDS

    def shape() -> bool:
        with av.open(io.BytesIO(data)) as container:
            width, height, _ = _shown(container)
        return _same_aspect(width / height, source)

    def upright() -> bool:
        with av.open(io.BytesIO(data)) as container:
            return is_upright(_shown(container)[2])

    checks: list[Check] = [
        ("is not H.264 with AAC", codecs),
        ("does not last as long as the source", duration),
        ("is not shaped as the source is shown", shape),
        (
            "cannot start before it is loaded (no faststart)",
            lambda: 0 < data.find(b"moov") < data.find(b"mdat"),
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
    if rendition.kind not in {"storyboard", "square"}:
        checks.append(
            (
                "is not shaped as the source is shown",
                lambda: _same_aspect(opened().width / opened().height, source),
            )
        )
        if source.is_scene:
            checks.append(("does not stand upright", lambda: is_upright(opened())))
    return checks


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
