"""Media for tests: generated good and bad files, and the real ones beside the repository."""

import random
from fractions import Fraction
from pathlib import Path

import av
import pytest
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from kinstream_devkit.generate.media import write_phone_video

REAL_MEDIA = Path(__file__).parents[2].parent / "shared" / "data" / "media"

PLACE_TRACES = (b"\xa9xyz", b"loci", b"ISO6709", b"Exif\0\0", b"location", b"http://ns.adobe.com/xap")
"""Bytes by which a file that holds a place, or metadata that may hold one, gives itself away.

None so short that compressed pictures come to hold it by chance.
"""


def real_media(folder: str) -> list[Path]:
    """Real files of one folder; none where the data is not there."""
    return sorted((REAL_MEDIA / folder).glob("*"))


def needs_real_media() -> pytest.MarkDecorator:
    """Skips, and says why, where the data is not there."""
    return pytest.mark.skipif(
        not REAL_MEDIA.is_dir(), reason="../shared/data/media is not there: real files not tested"
    )


def traces_of_place(raw: bytes) -> list[bytes]:
    """What in a file's bytes may tell a place."""
    return [trace for trace in PLACE_TRACES if trace in raw]


def write_corrupt_video(path: Path, seed: int = 1) -> None:
    """A phone video with hundreds of wrong bytes in its pictures and sound; its index is whole."""
    write_phone_video(path, seconds=3)
    raw = bytearray(path.read_bytes())
    start, end = raw.index(b"mdat") + 400, raw.index(b"moov") - 400
    noise = random.Random(seed)
    for _ in range(200):
        raw[noise.randrange(start, end)] = noise.randrange(256)
    path.write_bytes(raw)


def write_cut_video(path: Path) -> None:
    """A phone video that stops in the middle, with its index missing."""
    write_phone_video(path, seconds=2)
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])


def write_text_as_video(path: Path) -> None:
    """Text under a video's name."""
    path.write_text("Dear diary, this is no video.\n" * 100)


def write_playlist_as_video(path: Path, target: Path) -> None:
    """A list that would make an unwary player open another file."""
    path.write_text(f"ffconcat version 1.0\nfile '{target}'\n")


def write_h264(path: Path, *, turned: int = 0, size: tuple[int, int] = (320, 240), seconds: int = 2) -> None:
    """An MP4 with H.264 and AAC as newer phones record it, with a place in it."""
    with av.open(str(path), "w", format="mp4") as container:
        container.metadata.update({"location": "+48.8584+002.2945/"})
        video = container.add_stream("libx264", rate=15, options={"preset": "ultrafast"})
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        if turned:
            video.set_display_rotation(-turned)
        audio = container.add_stream("aac", rate=44_100)
        for number in range(15 * seconds):
            frame = VideoFrame.from_image(Image.linear_gradient("L").resize(size).convert("RGB"))
            frame.pts, frame.time_base = number, Fraction(1, 15)
            container.mux(video.encode(frame.reformat(format="yuv420p")))
        for number in range(43 * seconds):
            sound = av.AudioFrame(format="fltp", layout="stereo", samples=1024)
            for plane in sound.planes:
                plane.update(bytes(plane.buffer_size))
            sound.sample_rate, sound.pts, sound.time_base = 44_100, number * 1024, Fraction(1, 44_100)
            container.mux(audio.encode(sound))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def write_slow_video(path: Path, frames: int = 60) -> None:
    """Pictures of noise, which take seconds to encode: time enough to kill who does it."""
    noise = [Image.effect_noise((1280, 720), 90 + number).convert("RGB") for number in range(4)]
    with av.open(str(path), "w", format="3gp") as container:
        video = container.add_stream("mpeg4", rate=15)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        video.codec_context.bit_rate = 1_000_000
        for number in range(frames):
            frame = VideoFrame.from_image(noise[number % 4]).reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, 15)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))


def write_mjpeg(path: Path, size: tuple[int, int] = (160, 120), pictures: int = 10) -> None:
    """An AVI as old cameras record it: one JPEG after another, no sound."""
    with av.open(str(path), "w", format="avi") as container:
        video = container.add_stream("mjpeg", rate=15)
        assert isinstance(video, VideoStream)
        video.width, video.height, video.pix_fmt = *size, "yuvj420p"
        for number in range(pictures):
            picture = Image.linear_gradient("L").resize(size).convert("RGB")
            frame = VideoFrame.from_image(picture).reformat(format="yuvj420p")
            frame.pts = number
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
