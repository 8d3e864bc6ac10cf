"""The pieces of a fragmented MP4: where they lie in the file and how long they last."""

import mmap
import struct
from collections.abc import Iterator
from pathlib import Path

from media_worker.domain.ladder import Segment

_DURATION_DEFAULT, _BASE_OFFSET, _DESCRIPTION = 0x08, 0x01, 0x02
_DATA_OFFSET, _FIRST_FLAGS, _SAMPLE_DURATION = 0x001, 0x004, 0x100
_SAMPLE_FIELDS = (0x100, 0x200, 0x400, 0x800)
_LONG_SIZE = 1


def read_segments(path: Path) -> tuple[int, list[Segment]]:
    """How many bytes the file's head has, and its pieces in order. Files of our own only."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as raw:
        return _read(raw)


def _read(raw: mmap.mmap) -> tuple[int, list[Segment]]:
    head_bytes, ticks_a_second = 0, 1
    segments: list[Segment] = []
    first = 0
    duration = 0.0
    for kind, start, body, end in _boxes(raw, 0, len(raw)):
        if kind == b"moov":
            ticks_a_second = _timescale(raw, body, end)
            head_bytes = end
        elif kind == b"moof":
            first, duration = start, _moof_ticks(raw, body, end) / ticks_a_second
        elif kind == b"mdat" and head_bytes:
            segments.append(Segment(first, end - first, duration))
    return head_bytes, segments


def _boxes(raw: mmap.mmap, start: int, end: int) -> Iterator[tuple[bytes, int, int, int]]:
    """Kind, first byte, first byte of the content, and end of each box."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", raw, start)
        body = start + 8
        if size == _LONG_SIZE:
            (size,) = struct.unpack_from(">Q", raw, body)
            body += 8
        yield kind, start, body, start + size
        start += size


def _inside(raw: mmap.mmap, start: int, end: int, *path: bytes) -> Iterator[tuple[int, int]]:
    for kind, _, body, stop in _boxes(raw, start, end):
        if kind == path[0]:
            if len(path) == 1:
                yield body, stop
            else:
                yield from _inside(raw, body, stop, *path[1:])


def _timescale(raw: mmap.mmap, start: int, end: int) -> int:
    body, _ = next(_inside(raw, start, end, b"trak", b"mdia", b"mdhd"))
    wide = raw[body] == 1
    (ticks,) = struct.unpack_from(">I", raw, body + (20 if wide else 12))
    return int(ticks)


def _moof_ticks(raw: mmap.mmap, start: int, end: int) -> int:
    total = 0
    for traf, traf_end in _inside(raw, start, end, b"traf"):
        header, _ = next(_inside(raw, traf, traf_end, b"tfhd"))
        default = _default_duration(raw, header)
        for run, _ in _inside(raw, traf, traf_end, b"trun"):
            total += _run_ticks(raw, run, default)
    return total


def _default_duration(raw: mmap.mmap, header: int) -> int:
    flags = int.from_bytes(raw[header + 1 : header + 4], "big")
    at = header + 8 + (8 if flags & _BASE_OFFSET else 0) + (4 if flags & _DESCRIPTION else 0)
    return int.from_bytes(raw[at : at + 4], "big") if flags & _DURATION_DEFAULT else 0


def _run_ticks(raw: mmap.mmap, run: int, default: int) -> int:
    flags = int.from_bytes(raw[run + 1 : run + 4], "big")
    count = int.from_bytes(raw[run + 4 : run + 8], "big")
    if not flags & _SAMPLE_DURATION:
        return count * default
    at = run + 8 + (4 if flags & _DATA_OFFSET else 0) + (4 if flags & _FIRST_FLAGS else 0)
    step = 4 * sum(1 for field in _SAMPLE_FIELDS if flags & field)
    return sum(int.from_bytes(raw[at + n * step : at + n * step + 4], "big") for n in range(count))
