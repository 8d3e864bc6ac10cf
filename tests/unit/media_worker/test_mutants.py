"""Good files with random bits turned over by zzuf: a few each in the suite, 2,000 with `make fuzz-media`."""

import os
import shutil
import subprocess
import sys
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import av
import pytest

from kinstream_devkit.generate.media import draw_scene, write_phone_video, write_photo
from media_worker.sandbox import Sandbox, SandboxLimits
from tests.support.decoding import assert_sound, decode
from tests.support.media_samples import write_h264, write_mjpeg

MUTANTS = int(os.environ.get("KINSTREAM_FUZZ_MUTANTS", "60"))
FIRST_SEED = int(os.environ.get("KINSTREAM_FUZZ_SEED", "1"))
MOST_BYTES = 1_000_000_000
RATIOS = (0.00002, 0.0002, 0.002, 0.02)
"""Share of a file's bits that are turned over: from a handful to most of its bytes."""

Write = Callable[[Path], object]


def saved(format_name: str, **options: object) -> Write:
    return lambda path: draw_scene(320, 240).save(path, format_name, **options)


def animated(path: Path) -> None:
    first, *others = [draw_scene(160, 120, moment=moment) for moment in range(4)]
    first.save(path, "GIF", save_all=True, append_images=others)


def heic(path: Path) -> None:
    import pillow_heif

    pillow_heif.from_pillow(draw_scene(320, 240)).save(path)


def sound(container: str, codec: str) -> Write:
    def write(path: Path) -> None:
        source = BytesIO()
        with av.open(source, "w", format=container) as target:
            stream = target.add_stream(codec, rate=48_000)
            for number in range(50):
                frame = av.AudioFrame(format=stream.codec_context.format, layout="stereo", samples=1024)
                for plane in frame.planes:
                    plane.update(array("f", [number / 100] * (plane.buffer_size // 4)).tobytes())
                frame.sample_rate, frame.pts = 48_000, number * 1024
                target.mux(stream.encode(frame))
            target.mux(stream.encode(None))
        path.write_bytes(source.getvalue())

    return write


def remuxed(container: str) -> Write:
    def write(path: Path) -> None:
        write_h264(path, seconds=1)
        raw, target = BytesIO(path.read_bytes()), BytesIO()
        with av.open(raw) as source, av.open(target, "w", format=container) as made:
            streams = {s.index: made.add_stream_from_template(s) for s in source.streams}
            for packet in source.demux():
                if packet.dts is not None:
                    packet.stream = streams[packet.stream.index]
                    made.mux(packet)
        path.write_bytes(target.getvalue())

    return write


IMAGES: dict[str, Write] = {
    "jpeg": lambda path: write_photo(path, 480, 640, 6),
    "progressive jpeg": saved("JPEG", progressive=True),
    "png": saved("PNG"),
    "webp": saved("WEBP"),
    "gif": animated,
    "avif": saved("AVIF", speed=10),
    "heic": heic,
}
RECORDINGS: dict[str, Write] = {
    "3gp": lambda path: write_phone_video(path, seconds=1, size="qcif", turned=90),
    "mp4": lambda path: write_h264(path, seconds=1),
    "mkv": remuxed("matroska"),
    "mpeg-ts": remuxed("mpegts"),
    "avi": write_mjpeg,
    "wav": sound("wav", "pcm_s16le"),
    "flac": sound("flac", "flac"),
    "m4a": sound("ipod", "aac"),
}
GOOD = [("image", name) for name in IMAGES] + [("video", name) for name in RECORDINGS]

ONCE_UNFORESEEN = {"mp4": (501, 518), "mpeg-ts": (502, 503), "mkv": (602,), "heic": (2,)}
"""Seeds of mutants that no codec had words for."""


@pytest.fixture(scope="module")
def zzuf() -> str:
    program = shutil.which("zzuf")
    if program is None:
        if os.environ.get("KINSTREAM_TESTS_REQUIRE_MEDIA_TOOLS"):
            pytest.fail("zzuf is not installed, and KINSTREAM_TESTS_REQUIRE_MEDIA_TOOLS is set")
        pytest.skip("zzuf is not installed: no mutants tested")
    return program


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(SandboxLimits(cpu_seconds=60, wall_seconds=120))
    yield made
    made.close()


def mutant(zzuf: str, good: bytes, seed: int) -> bytes:
    ratio = RATIOS[seed % len(RATIOS)]
    done = subprocess.run(
        [zzuf, "-s", str(seed), "-r", f"{ratio:f}"], input=good, capture_output=True, check=True
    )
    return done.stdout


@pytest.mark.timeout(3_600)
@pytest.mark.parametrize(("kind", "name"), GOOD, ids=[name for _, name in GOOD])
def test_mutants_do_no_harm(zzuf: str, sandbox: Sandbox, tmp_path: Path, kind: str, name: str) -> None:
    source = tmp_path / "good"
    (IMAGES if kind == "image" else RECORDINGS)[name](source)
    good = source.read_bytes()
    reasons: Counter[str] = Counter()
    peak_bytes, cpu_seconds = 0, 0.0
    for seed in (*ONCE_UNFORESEEN.get(name, ()), *range(FIRST_SEED, FIRST_SEED + -(-MUTANTS // len(GOOD)))):
        folder = tmp_path / str(seed)
        folder.mkdir(exist_ok=True)
        bad = folder / "original"
        bad.write_bytes(mutant(zzuf, good, seed))
        try:
            outcome = decode(sandbox, bad, kind)
            assert_sound(outcome, folder)
        except Exception as error:
            error.add_note(f"mutant of {name} with zzuf -s {seed} -r {RATIOS[seed % len(RATIOS)]:f}")
            raise
        assert outcome.peak_bytes < MOST_BYTES, f"seed {seed}"
        reasons[outcome.reason or "made"] += 1
        peak_bytes, cpu_seconds = max(peak_bytes, outcome.peak_bytes), max(cpu_seconds, outcome.cpu_seconds)
        shutil.rmtree(folder)
    told = [f"\n{name}: peak {peak_bytes >> 20} MB, longest {cpu_seconds:.2f} s of computing"]
    told += [f"{count:7} {reason}" for reason, count in reasons.most_common()]
    sys.stdout.write("\n".join(told) + "\n")


def test_good_file_of_every_kind_is_made(sandbox: Sandbox, tmp_path: Path) -> None:
    """Else its mutants would say nothing."""
    for kind, name in GOOD:
        folder = tmp_path / name
        folder.mkdir()
        (IMAGES if kind == "image" else RECORDINGS)[name](folder / "original")
        assert decode(sandbox, folder / "original", kind).reason is None, name
