"""Recordings of every kind that phones make, small and short, and all that is made of them."""

import math
import random
from array import array
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from PIL import Image

from kinstream_devkit.generate.media import draw_scene
from media_worker import making
from media_worker.domain.options import Options, RecordingOptions
from media_worker.domain.policy import Limits
from media_worker.domain.recipes import RECIPES, Made
from media_worker.rendition import discover

LIMITS = Limits(video_pixels=4096 * 2304, video_duration_seconds=7_200, image_pixels=100_000_000, streams=16)
PLACE = {"location": "+48.8584+002.2945/", "comment": "a camera", "creation_time": "2026-11-20T18:04:05Z"}
RATE = 15


@dataclass(frozen=True, slots=True)
class Sample:
    """How a recording is written. Turned is by how many degrees clockwise a player turns it."""

    form: str
    video: str | None = "libx264"
    audio: str | None = "aac"
    size: tuple[int, int] = (160, 120)
    audio_rate: int = 44_100
    pixel_format: str = "yuv420p"
    seconds: float = 1.0
    turned: int = 0
    aspect: Fraction = Fraction(1)
    colors: tuple[int, int, int] | None = None
    times: tuple[int, ...] | None = None
    """When each picture is shown, in 15ths of a second."""
    audio_from_seconds: float = 0.0
    channels: int = 1
    options: dict[str, str] = field(default_factory=dict)
    muxer: dict[str, str] = field(default_factory=dict)


def write(path: Path, sample: Sample) -> Path:
    """Write the sample: the scene, upright when shown, with a ball that moves, and a tone."""
    with av.open(str(path), "w", format=sample.form, options=sample.muxer) as container:
        container.metadata.update(PLACE)
        video = _video(container, sample) if sample.video else None
        audio = _audio(container, sample) if sample.audio else None
        times = sample.times or tuple(range(round(sample.seconds * RATE)))
        spoken = 0
        for at in times:
            if video is not None:
                container.mux(video.encode(_picture(sample, at)))
            while audio is not None and spoken < (at + 1) * sample.audio_rate / RATE:
                container.mux(audio.encode(_tone(sample, spoken)))
                spoken += _samples(sample)
        for stream in (video, audio):
            if stream is not None:
                container.mux(stream.encode(None))
    return path


def write_amr_wb(path: Path) -> Path:
    """A second of AMR-WB at its lowest rate, of noise: nothing here can encode it."""
    noise = random.Random(1)
    path.write_bytes(b"#!AMR-WB\n" + b"".join(b"\x04" + noise.randbytes(17) for _ in range(50)))
    return path


@dataclass
class Results:
    """All that was made of a file."""

    folder: Path
    made: dict[str, Made]

    def path(self, name: str) -> Path:
        """Where the file of a rendition lies."""
        return self.folder / self.made[name].file_name


def make_all(
    source: Path, options: RecordingOptions | None = None, limits: Limits = LIMITS, kind: str = "video"
) -> Results:
    """Inspect, plan, make and assemble, as a worker does."""
    chosen = Options(recording=options or RecordingOptions())
    facts = making.inspect(source, kind, limits)
    renditions = [discover()[name] for name in RECIPES[facts.kind]]
    steps = [step for one in renditions for step in one.plan(facts, chosen)]
    folder = source.with_name(f"{source.name}.made")
    folder.mkdir()
    made = making.make(source, folder, making.Order(facts, steps, limits, chosen), lambda _: None)
    for one in renditions:
        for extra, body in one.assemble(made):
            (folder / extra.file_name).write_bytes(body)
            made.append(extra)
    return Results(folder, {one.name: one for one in made})


def is_upright(picture: Image.Image) -> bool:
    """Whether the sample scene looks more like itself as it is than turned or mirrored in any way."""
    wanted = draw_scene(*picture.size).resize((32, 32)).tobytes()

    def distance(turn: Image.Transpose | None) -> int:
        turned = picture if turn is None else picture.transpose(turn)
        got = turned.convert("RGB").resize((32, 32)).tobytes()
        return sum(abs(a - b) for a, b in zip(wanted, got, strict=True))

    return min([None, *Image.Transpose], key=distance) is None


def _video(container: av.container.OutputContainer, sample: Sample) -> VideoStream:
    assert sample.video is not None
    video = container.add_stream(sample.video, rate=RATE, options=sample.options)
    assert isinstance(video, VideoStream)
    video.width, video.height = sample.size
    video.pix_fmt = sample.pixel_format
    video.codec_context.time_base = Fraction(1, RATE)
    video.codec_context.sample_aspect_ratio = sample.aspect
    if sample.video in ("mpeg4", "h263", "mpeg2video", "mjpeg"):
        video.codec_context.bit_rate = 1_000_000
    if sample.colors:
        context = video.codec_context
        context.colorspace, context.color_primaries, context.color_trc = sample.colors
    if sample.turned:
        video.set_display_rotation(-sample.turned)
    return video


def _audio(container: av.container.OutputContainer, sample: Sample) -> AudioStream:
    assert sample.audio is not None
    audio = container.add_stream(sample.audio, rate=sample.audio_rate)
    assert isinstance(audio, AudioStream)
    audio.codec_context.layout = {1: "mono", 2: "stereo", 6: "5.1"}[sample.channels]
    if sample.audio == "libopencore_amrnb":
        audio.codec_context.bit_rate = 12_200
    return audio


def _picture(sample: Sample, at: int) -> VideoFrame:
    # Its pixels may be wider than high, and it may have to be turned: what is stored is squeezed and turned.
    width, height = sample.size
    shown = (round(width * sample.aspect), height)
    if sample.turned % 180:
        shown = shown[::-1]
    scene = draw_scene(*shown, moment=at / RATE)
    scene = scene.rotate(sample.turned, expand=True).resize(sample.size)
    frame = VideoFrame.from_image(scene).reformat(format=sample.pixel_format)
    frame.pts, frame.time_base = at, Fraction(1, RATE)
    return frame


def _samples(sample: Sample) -> int:
    return 160 if sample.audio_rate == 8_000 else 960


def _tone(sample: Sample, first: int) -> AudioFrame:
    count, rate = _samples(sample), sample.audio_rate
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[sample.channels]
    tone = array("h")
    for number in range(first, first + count):
        tone.extend([round(3_000 * math.sin(2 * math.pi * 440 * number / rate))] * sample.channels)
    frame = AudioFrame(format="s16", layout=layout, samples=count)
    frame.planes[0].update(tone.tobytes())
    frame.sample_rate = rate
    frame.pts = first + round(sample.audio_from_seconds * rate)
    frame.time_base = Fraction(1, rate)
    return frame
