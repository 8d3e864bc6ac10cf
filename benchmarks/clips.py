"""Recordings and photos to measure with: drawn, with grain and movement, so that encoders have work."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple, cast

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from kinstream_devkit.generate.media import draw_scene, write_photo

PHOTO_SIZE = (4032, 3024)


class Clip(NamedTuple):
    """A kind of recording as a phone of its time made it."""

    name: str
    container: str
    """What the worker recognises it as."""
    form: str
    """The muxer that writes it."""
    codec: str
    size: tuple[int, int]
    frames_a_second: int
    bits_a_second: int
    audio: str
    audio_rate: int


CLIPS = (
    Clip("H.263 CIF + AMR", "mov", "3gp", "h263", (352, 288), 15, 400_000, "libopencore_amrnb", 8_000),
    Clip("MPEG-4 VGA + AMR", "mov", "3gp", "mpeg4", (640, 480), 25, 2_000_000, "libopencore_amrnb", 8_000),
    Clip("H.264 720p + AAC", "matroska", "matroska", "libx264", (1280, 720), 30, 6_000_000, "aac", 48_000),
)


def write_clip(path: Path, clip: Clip, seconds: float) -> None:
    """The recording: a slow pan over a scene with grain that changes with each frame, and a tone."""
    width, height = clip.size
    random = np.random.default_rng(3)
    scene = np.asarray(draw_scene(width * 5 // 4, height * 5 // 4, seed=3), dtype=np.int16)
    scene = scene + random.normal(0, 14, scene.shape).astype(np.int16)
    grain = [random.normal(0, 3, (height, width, 1)).astype(np.int16) for _ in range(8)]
    frames = round(seconds * clip.frames_a_second)
    with av.open(str(path), "w", format=clip.form) as container:
        video = cast(VideoStream, container.add_stream(clip.codec, rate=clip.frames_a_second))
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.bit_rate = clip.bits_a_second
        video.codec_context.time_base = Fraction(1, clip.frames_a_second)
        audio = cast(AudioStream, container.add_stream(clip.audio, rate=clip.audio_rate))
        audio.codec_context.layout = "mono"
        if clip.audio_rate == 8_000:
            audio.codec_context.bit_rate = 12_200
        spoken = 0
        for number in range(frames):
            left, top = (number * (size // 4) // frames for size in (width, height))
            picture = scene[top : top + height, left : left + width] + grain[number % len(grain)]
            frame = VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = number, Fraction(1, clip.frames_a_second)
            container.mux(video.encode(frame))
            while spoken * clip.frames_a_second < number * clip.audio_rate:
                container.mux(audio.encode(_tone(spoken, clip.audio_rate)))
                spoken += clip.audio_rate // 50
        container.mux(video.encode(None))
        container.mux(audio.encode(None))


def write_photos(folder: Path, count: int) -> list[Path]:
    """Photos of 12 MP with grain."""
    paths = [folder / f"photo-{number}.jpg" for number in range(count)]
    for number, path in enumerate(paths):
        write_photo(path, *PHOTO_SIZE, orientation=1, seed=number)
    return paths


def _tone(first: int, rate: int) -> AudioFrame:
    samples = rate // 50
    times = np.arange(first, first + samples) / rate
    wave = 8_000 * np.sin(2 * np.pi * (300 + 40 * np.floor(times * 2)) * times)
    frame = AudioFrame.from_ndarray(wave.astype(np.int16)[np.newaxis], format="s16", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
    return frame
