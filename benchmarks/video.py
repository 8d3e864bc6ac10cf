"""Rows `video` and `remux`: the media-worker's conversion against the ffmpeg command line's.

Both run as a process of their own; what counts is the CPU time of all its threads without its start.
"""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import geometric_mean, median

from benchmarks.clips import CLIPS, Clip, write_clip
from benchmarks.convert import recipe_of
from benchmarks.peers import ffmpeg
from benchmarks.runner import Bench, MissingError, Result, interleave, ratio, spread
from media_worker.codecs import video
from media_worker.domain.recordings import Recipe
from media_worker.settings import MediaWorkerSettings

MOST_CPU, MOST_SIZE, MOST_SSIM = 1.05, 0.01, 0.002
MOST_REMUX_CPU = 1.3
_CONVERT_SECONDS = 300
_WORKER = (sys.executable, "-m", "benchmarks.convert")
_SSIM = re.compile(r"SSIM .*All:([0-9.]+)")


def measure(bench: Bench, name: str) -> Result:
    """The row: the worst of the clips decides."""
    if name == "remux":
        return _remux(bench)
    program = ffmpeg(bench)
    start = median(_cpu_seconds([str(program), "-version"]) for _ in range(5))
    found = [_clip(bench, program, clip, start) for clip in CLIPS]
    cpu = geometric_mean([one["ratio"] for one in found])
    ok = all(
        one["ratio"] <= MOST_CPU and abs(one["size"] - 1) <= MOST_SIZE and one["ssim"] >= -MOST_SSIM
        for one in found
    )
    told = "; ".join(
        f"{clip.name} {one['ratio']:.2f}x, size {one['size'] - 1:+.1%}, SSIM {one['ssim']:+.4f}"
        for clip, one in zip(CLIPS, found, strict=True)
    )
    figures = {
        f"{key}_{clip.codec}": one[key]
        for clip, one in zip(CLIPS, found, strict=True)
        for key in ("ratio", "size", "ssim")
    }
    version = subprocess.run([program, "-version"], capture_output=True, text=True, check=False)
    return Result(
        told,
        ok,
        [
            f"peer: {' '.join(version.stdout.split()[:3])}; geometric mean {cpu:.2f}x; clips of "
            f"{_seconds(bench)} s; without the start of Python (a worker starts once) and that of ffmpeg "
            f"({start:.2f} s)",
            *(
                f"{clip.name}: {one['cpu']:.2f} against {one['peer']:.2f} s of CPU, ratios of the rounds "
                f"{one['least']:.2f} to {one['most']:.2f}"
                for clip, one in zip(CLIPS, found, strict=True)
            ),
        ],
        {**figures, "ratio": cpu},
    )


def _remux(bench: Bench) -> Result:
    """A recording that needs no encoding, a hundred times as long as its clip: copied packets cost little."""
    program = ffmpeg(bench)
    start = median(_cpu_seconds([str(program), "-version"]) for _ in range(9))
    clip = CLIPS[-1]
    short, source = bench.folder / "remux-clip.mkv", bench.folder / "remux.mkv"
    bench.say(f"drawing {clip.name}")
    write_clip(short, clip, 4)
    loops = bench.pick(20, 100)
    looped = [str(program), "-y", "-loglevel", "error", "-nostdin", "-stream_loop", str(loops)]
    _cpu_seconds([*looped, "-i", str(short), "-c", "copy", str(source)])
    ours, theirs = bench.folder / "remux-ours.mp4", bench.folder / "remux-ffmpeg.mp4"
    command = [str(program), "-y", "-loglevel", "error", "-nostdin", "-i", str(source)]
    command += ["-map_metadata", "-1", "-c", "copy"]
    readings = interleave(
        bench.pick(5, 9),
        {
            "ffmpeg": lambda _: _cpu_seconds(
                [*command, "-c", "copy", "-movflags", "+faststart", str(theirs)]
            ),
            "ours": lambda _: _told_seconds([*_WORKER, "copy", str(source), clip.container, str(ours)]),
        },
        bench.say,
    )
    mine, peer = readings["ours"], [seconds - start for seconds in readings["ffmpeg"]]
    again = [*_WORKER, "copy", str(source), clip.container, str(ours)]
    alone = ratio([_told_seconds(again, alone=True) for _ in mine], peer)
    found = ratio(mine, peer)
    megabytes = source.stat().st_size / 1e6
    return Result(
        f"{found:.2f}x, size {ours.stat().st_size / theirs.stat().st_size - 1:+.2%}",
        found <= MOST_REMUX_CPU,
        [
            f"{clip.name} in Matroska, {4 * (loops + 1)} s, {megabytes:.0f} MB: {median(mine):.2f} against "
            f"{median(peer):.2f} s of CPU; ratios of the rounds {spread(mine, peer)}",
            f"ours looks into the file first ({alone:.2f}x without that) and leaves out what cameras hide in "
            "the pictures' stream; it writes the file once, with room for its index, ffmpeg twice",
        ],
        {"ratio": found},
    )


def _seconds(bench: Bench) -> int:
    return bench.pick(4, 12)


def _clip(bench: Bench, program: Path, clip: Clip, start: float) -> dict[str, float]:
    source = bench.folder / f"{clip.codec}.in"
    bench.say(f"drawing {clip.name}")
    write_clip(source, clip, _seconds(bench))
    ours, theirs = bench.folder / f"{clip.codec}-ours.mp4", bench.folder / f"{clip.codec}-ffmpeg.mp4"
    recipe = _recipe(source, clip)
    readings = interleave(
        bench.pick(3, 4),
        {
            "ffmpeg": lambda _: _cpu_seconds(_ffmpeg(program, source, recipe, theirs)),
            "ours": lambda _: _told_seconds([*_WORKER, "encode", str(source), clip.container, str(ours)]),
        },
        lambda text: bench.say(f"{clip.name}, {text}"),
    )
    mine = readings["ours"]
    peer = [seconds - start for seconds in readings["ffmpeg"]]
    return {
        "ratio": ratio(mine, peer),
        "cpu": median(mine),
        "peer": median(peer),
        "size": ours.stat().st_size / theirs.stat().st_size,
        "ssim": _ssim(program, ours, source) - _ssim(program, theirs, source),
        "least": min(a / b for a, b in zip(mine, peer, strict=True)),
        "most": max(a / b for a, b in zip(mine, peer, strict=True)),
    }


def _recipe(source: Path, clip: Clip) -> Recipe:
    return recipe_of(video.probe(source, clip.container, MediaWorkerSettings().limits), "encode")


def _ffmpeg(program: Path, source: Path, recipe: Recipe, target: Path) -> list[str]:
    assert recipe.video
    assert recipe.audio
    return [
        str(program), "-y", "-loglevel", "error", "-nostdin", "-i", str(source), "-map_metadata", "-1",
        "-fps_mode", "passthrough", "-c:v", "libx264", "-preset", "veryfast", "-crf", "23",
        "-pix_fmt", "yuv420p",
        "-c:a", "aac", "-b:a", str(recipe.audio.bits_a_second), "-ac", str(recipe.audio.channels),
        "-movflags", "+faststart", str(target),
    ]  # fmt: skip


def _cpu_seconds(command: Sequence[str]) -> float:
    """User and system time of a program, from start to end."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr
    with process.stderr:
        said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise MissingError(f"{Path(command[0]).name} failed: {said.decode(errors='replace').strip()[-300:]}")
    return usage.ru_utime + usage.ru_stime


def _told_seconds(command: Sequence[str], *, alone: bool = False) -> float:
    """What a conversion says of its own CPU time; `alone` without the look into the file before it."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=_CONVERT_SECONDS, check=False)
    if done.returncode:
        raise MissingError(f"the conversion failed: {done.stderr.strip()[-300:]}")
    return float(done.stdout.split()[alone])


def _ssim(program: Path, made: Path, source: Path) -> float:
    command = [str(program), "-nostdin", "-i", str(made), "-i", str(source)]
    graph = "[0:v]settb=AVTB,setpts=N[a];[1:v]settb=AVTB,setpts=N[b];[a][b]ssim"
    done = subprocess.run(
        [*command, "-lavfi", graph, "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=_CONVERT_SECONDS,
        check=False,
    )
    match = _SSIM.search(done.stderr)
    if not match:
        raise MissingError(f"ffmpeg could not compare the videos: {done.stderr.strip()[-200:]}")
    return float(match[1])
