"""Media as phones make it, generated: old 3GPP video and photos with orientation and a place in them.

Every picture shows which way is up: a blue sky above green ground, a red arrow that points to the sky,
a yellow sun in the upper left corner. Whoever turns or mirrors one can be caught by its colours alone.
"""

import math
import random
from array import array
from fractions import Fraction
from pathlib import Path
from typing import Literal

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import ExifTags, Image, ImageDraw

VideoSize = Literal["qcif", "cif"]

SIZES: dict[VideoSize, tuple[int, int]] = {"qcif": (176, 144), "cif": (352, 288)}
"""Stored width and height: H.263 knows few sizes, with pixels 12:11 as wide as high."""

VIDEO_FRAMES_A_SECOND = 15
PLACE = (48.85837, 2.29448)
"""Latitude and longitude that samples carry: the Eiffel Tower, nobody's home."""

SKY_TOP, SKY_LOW = (40, 90, 200), (150, 200, 250)
GROUND = (50, 140, 60)
ARROW = (210, 30, 30)
SUN = (250, 220, 60)

_TURNS_TO_STORED = {
    2: [Image.Transpose.FLIP_LEFT_RIGHT],
    3: [Image.Transpose.ROTATE_180],
    4: [Image.Transpose.FLIP_TOP_BOTTOM],
    5: [Image.Transpose.TRANSPOSE],
    6: [Image.Transpose.ROTATE_90],
    7: [Image.Transpose.TRANSVERSE],
    8: [Image.Transpose.ROTATE_270],
}
"""What turns an upright picture into the stored one of an EXIF orientation."""

_AUDIO_RATE = 8_000
_AUDIO_FRAME_SAMPLES = 160
_MELODY_HZ = (262, 294, 330, 349, 392, 440, 494, 523)


def draw_scene(width: int, height: int, seed: int = 0, moment: float = 0.0) -> Image.Image:
    """The picture, upright. `seed` moves the hills, `moment` (seconds) moves the ball across."""
    draw_random = random.Random(seed)
    scene = Image.new("RGB", (width, height))
    draw = ImageDraw.Draw(scene)
    horizon = height * 2 // 3
    for y in range(horizon):
        share = y / max(1, horizon - 1)
        color = tuple(round(a + (b - a) * share) for a, b in zip(SKY_TOP, SKY_LOW, strict=True))
        draw.line((0, y, width, y), fill=color)
    draw.rectangle((0, horizon, width, height), fill=GROUND)
    for number in range(5):
        center, radius = draw_random.randrange(width), width // 8 + draw_random.randrange(1 + width // 8)
        shade = (40 + 8 * number, 120 + 6 * number, 50 + 5 * number)
        draw.ellipse((center - radius, horizon - radius // 3, center + radius, horizon + radius), fill=shade)
    unit = min(width, height) // 10
    draw.ellipse((unit // 2, unit // 2, unit * 5 // 2, unit * 5 // 2), fill=SUN)
    _draw_arrow(draw, width // 2, height // 2, unit)
    x = round((0.5 + 0.4 * math.sin(moment * 1.7)) * width)
    y = height - unit - round(abs(math.sin(moment * 4)) * unit * 2)
    draw.ellipse((x - unit // 2, y - unit // 2, x + unit // 2, y + unit // 2), fill=(245, 245, 245))
    return scene


def write_photo(
    path: Path, width: int, height: int, orientation: int, *, gps: bool = True, seed: int = 0
) -> None:
    """A JPEG that is `width` by `height` when shown, stored turned as EXIF `orientation` (1 to 8) says.

    With `gps` it carries the place that phones write; camera make, model and date are there always.
    """
    upright = draw_scene(width, height, seed)
    grain = Image.effect_noise((width, height), 24).convert("RGB")
    upright = Image.blend(upright, grain, 0.08)
    for turn in _TURNS_TO_STORED.get(orientation, []):
        upright = upright.transpose(turn)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Make] = "Kinstream"
    exif[ExifTags.Base.Model] = "Sample Phone"
    exif[ExifTags.Base.DateTime] = "2026:11:20 18:04:05"
    if gps:
        exif.get_ifd(ExifTags.IFD.GPSInfo).update(_gps_tags(*PLACE))
    upright.save(path, "JPEG", quality=88, exif=exif)


def write_phone_video(
    path: Path, seconds: float = 6, size: VideoSize = "cif", *, turned: int = 0, gps: bool = True
) -> None:
    """A 3GPP file as older phones record it: H.263 with 12:11 pixels, AMR-NB mono, and a place.

    `turned` is 0, 90, 180 or 270: by how many degrees clockwise a player has to turn the stored
    picture, as a phone that was held upright writes it. Shown, the scene is always upright.
    """
    metadata = {"location": f"{PLACE[0]:+.5f}{PLACE[1]:+.5f}/"} if gps else {}
    with av.open(str(path), "w", format="3gp") as container:
        container.metadata.update(metadata)
        video = _video_stream(container, size, turned)
        audio = container.add_stream("libopencore_amrnb", rate=_AUDIO_RATE, options={"b": "12200"})
        assert isinstance(audio, AudioStream)
        audio.codec_context.layout = "mono"
        frames = round(seconds * VIDEO_FRAMES_A_SECOND)
        spoken = 0
        for number in range(frames):
            moment = number / VIDEO_FRAMES_A_SECOND
            for packet in video.encode(_picture(video, moment, turned, number)):
                container.mux(packet)
            while spoken < moment * _AUDIO_RATE:
                container.mux(audio.encode(_tone(spoken)))
                spoken += _AUDIO_FRAME_SAMPLES
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def _video_stream(container: OutputContainer, size: VideoSize, turned: int) -> VideoStream:
    video = container.add_stream("h263", rate=VIDEO_FRAMES_A_SECOND)
    assert isinstance(video, VideoStream)
    video.width, video.height = SIZES[size]
    video.pix_fmt = "yuv420p"
    video.codec_context.bit_rate = 400_000
    video.codec_context.sample_aspect_ratio = Fraction(12, 11)
    if turned:
        video.set_display_rotation(-turned)
    return video


def _picture(video: VideoStream, moment: float, turned: int, number: int) -> VideoFrame:
    width, height = video.width, video.height
    if turned in (90, 270):
        width, height = height, width
    scene = draw_scene(width, height, moment=moment)
    if turned:
        # Stored is what turns upright when turned clockwise: so it is turned counterclockwise.
        scene = scene.rotate(turned, expand=True)
    frame: VideoFrame = VideoFrame.from_image(scene).reformat(format="yuv420p")  # type: ignore[no-untyped-call]
    frame.pts, frame.time_base = number, Fraction(1, VIDEO_FRAMES_A_SECOND)
    return frame


def _tone(first_sample: int) -> AudioFrame:
    samples = array("h")
    for sample in range(first_sample, first_sample + _AUDIO_FRAME_SAMPLES):
        pitch = _MELODY_HZ[sample * 2 // _AUDIO_RATE % len(_MELODY_HZ)]
        samples.append(round(8_000 * math.sin(2 * math.pi * pitch * sample / _AUDIO_RATE)))
    frame = AudioFrame(format="s16", layout="mono", samples=_AUDIO_FRAME_SAMPLES)
    frame.planes[0].update(samples.tobytes())
    frame.sample_rate = _AUDIO_RATE
    frame.pts, frame.time_base = first_sample, Fraction(1, _AUDIO_RATE)
    return frame


def _draw_arrow(draw: ImageDraw.ImageDraw, x: int, y: int, unit: int) -> None:
    draw.rectangle((x - unit // 2, y - unit, x + unit // 2, y + unit * 5 // 2), fill=ARROW)
    draw.polygon(
        [(x, y - unit * 3), (x - unit * 3 // 2, y - unit), (x + unit * 3 // 2, y - unit)], fill=ARROW
    )


def _gps_tags(latitude: float, longitude: float) -> dict[int, object]:
    return {
        ExifTags.GPS.GPSLatitudeRef: "N" if latitude >= 0 else "S",
        ExifTags.GPS.GPSLatitude: _degrees(abs(latitude)),
        ExifTags.GPS.GPSLongitudeRef: "E" if longitude >= 0 else "W",
        ExifTags.GPS.GPSLongitude: _degrees(abs(longitude)),
    }


def _degrees(value: float) -> tuple[float, float, float]:
    whole, minutes = int(value), value % 1 * 60
    return float(whole), float(int(minutes)), round(minutes % 1 * 60, 2)
