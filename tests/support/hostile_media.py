"""Files that are made to hurt who decodes them: small, quickly written, each wrong in a way of its own."""

import gzip
import random
import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from PIL import Image

from tests.support.media_samples import write_h264, write_mjpeg

Write = Callable[[Path], None]


def png(width: int, height: int, *chunks: tuple[bytes, bytes], pixels: bytes = b"") -> bytes:
    """A PNG of RGB with these chunks before its pixels, whose claims need not be true."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    all_chunks = ((b"IHDR", header), *chunks, (b"IDAT", zlib.compress(pixels, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in all_chunks
    )


def png_of_zeros(path: Path) -> None:
    """20 megapixels in 60 KB: within what is allowed, and 60 MB once it is decoded."""
    path.write_bytes(png(5_000, 4_000, pixels=bytes(4_000 * 15_001)))


def png_claiming(path: Path) -> None:
    path.write_bytes(png(65_000, 65_000, pixels=bytes(1_000)))


def png_with_profile_bomb(path: Path) -> None:
    bomb = b"icc\0\0" + zlib.compress(bytes(50_000_000), 9)
    path.write_bytes(png(8, 8, (b"iCCP", bomb), pixels=bytes(8 * 25)))


def png_with_text_bombs(path: Path) -> None:
    bomb = b"text\0\0" + zlib.compress(bytes(1_000_000), 9)
    path.write_bytes(png(8, 8, *[(b"zTXt", bomb)] * 500, pixels=bytes(8 * 25)))


def gif_of_many_frames(path: Path) -> None:
    path.write_bytes(_gif(1, 1, frames=50_000))


def gif_claiming(path: Path) -> None:
    path.write_bytes(_gif(65_535, 65_535, frames=1))


def gif_frame_outside(path: Path) -> None:
    """A frame that is larger than its canvas."""
    path.write_bytes(_gif(16, 16, frames=2, frame=(60_000, 60_000)))


def _gif(width: int, height: int, frames: int, frame: tuple[int, int] | None = None) -> bytes:
    frame_width, frame_height = frame or (width, height)
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    one = struct.pack("<BHHHHB", 0x2C, 0, 0, frame_width, frame_height, 0) + b"\x02\x02\x44\x01\0"
    return head + one * frames + b";"


def webp_claiming(path: Path) -> None:
    raw = bytearray(_saved("WEBP", (64, 64), lossless=True))
    at = raw.index(b"VP8L") + 9
    raw[at : at + 4] = struct.pack("<I", 0x3FFF | 0x3FFF << 14)
    path.write_bytes(raw)


def webp_of_many_frames(path: Path) -> None:
    frames = [Image.new("RGB", (320, 240), (n % 256, n // 256, 0)) for n in range(300)]
    frames[0].save(path, "WEBP", save_all=True, append_images=frames[1:], quality=1, method=0)


def avif_claiming(path: Path) -> None:
    path.write_bytes(_claim_in_ispe(_saved("AVIF", (64, 64), speed=10)))


def heic_claiming(path: Path) -> None:
    """An AVIF that says it is HEIC, and larger than anything."""
    raw = _saved("AVIF", (64, 64), speed=10)
    path.write_bytes(_claim_in_ispe(raw.replace(b"ftypavif", b"ftypheic")))


def _claim_in_ispe(raw: bytes) -> bytes:
    at = raw.index(b"ispe") + 8
    return raw[:at] + struct.pack(">II", 200_000, 200_000) + raw[at + 8 :]


def jpeg_with_much_metadata(path: Path) -> None:
    """EXIF and 255 parts of a colour profile, 16 MB in all."""
    raw = _saved("JPEG", (64, 64))
    exif = _segment(0xE1, b"Exif\0\0" + b"II*\0\x08\0\0\0" + b"\xff\xff" + b"\x12\x01\x03\0" * 16_000)
    profile = b"".join(
        _segment(0xE2, b"ICC_PROFILE\0" + bytes([number, 255]) + bytes(65_000)) for number in range(1, 256)
    )
    path.write_bytes(raw[:2] + exif + profile + raw[2:])


def jpeg_of_many_scans(path: Path) -> None:
    """Progressive, with its last scan 600 times: each is work on the whole picture."""
    raw = _saved("JPEG", (2_000, 2_000), progressive=True)
    at = raw.rindex(b"\xff\xda")
    path.write_bytes(raw[:at] + raw[at:-2] * 600 + raw[-2:])


def jpeg_claiming(path: Path) -> None:
    raw = bytearray(_saved("JPEG", (64, 64)))
    at = raw.index(b"\xff\xc0") + 5
    raw[at : at + 4] = struct.pack(">HH", 65_500, 65_500)
    path.write_bytes(raw)


def jpeg_of_one_line(path: Path) -> None:
    Image.new("L", (65_000, 1)).save(path, "JPEG")


def photo_packed_with_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(_saved("JPEG", (64, 64))))


def _segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def _saved(format_name: str, size: tuple[int, int], **options: object) -> bytes:
    out = BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(out, format_name, **options)
    return out.getvalue()


def mp4_of_10000_streams(path: Path) -> None:
    _write_patched(path, lambda moov: moov + _first_box(moov, b"trak") * 10_000)


def mp4_of_40_streams(path: Path) -> None:
    _write_patched(path, lambda moov: moov + _first_box(moov, b"trak") * 40)


def mp4_with_endless_samples(path: Path) -> None:
    """A table of 268 million samples of one byte each, in twenty bytes."""
    _write_patched(path, lambda moov: _with_body(moov, b"stsz", struct.pack(">III", 0, 1, 0x0FFFFFFF)))


def mp4_with_endless_times(path: Path) -> None:
    _write_patched(path, lambda moov: _with_body(moov, b"stts", struct.pack(">IIII", 0, 1, 0xFFFFFFFF, 1)))


def mp4_with_absurd_descriptions(path: Path) -> None:
    _write_patched(path, lambda moov: _with_claim(moov, b"stsd", 0x7FFFFFFF))


def mp4_with_absurd_edit_list(path: Path) -> None:
    entry = struct.pack(">iiHH", 1, 0, 1, 0)
    _write_patched(
        path, lambda moov: _with_body(moov, b"elst", struct.pack(">II", 0, 50_000) + entry * 50_000)
    )


def mp4_claiming_10_hours(path: Path) -> None:
    def claim(moov: bytes) -> bytes:
        slow = _with_body(moov, b"stts", struct.pack(">IIII", 0, 1, 30, 2_400 * 15_360))
        return slow.replace(b"edts", b"free")  # or the edit list would cut it short

    _write_patched(path, claim)


def mp4_that_grows(path: Path) -> None:
    """Its description says 320 x 240 to begin with, and 16,000 x 16,000 in the box that few look into."""
    _write_patched(
        path, lambda moov: moov.replace(struct.pack(">HH", 320, 240), struct.pack(">HH", 16_000, 16_000))
    )


def mp4_of_nested_boxes(path: Path) -> None:
    body = b""
    for _ in range(20_000):
        body = struct.pack(">I4s", len(body) + 8, b"moov") + body
    path.write_bytes(struct.pack(">I4s4sI4s", 20, b"ftyp", b"isom", 0, b"isom") + body)


def matroska_of_nested_tags(path: Path) -> None:
    """Tags within tags, 5,000 deep."""
    nested = b""
    for _ in range(5_000):
        nested = b"\x67\xc8" + _ebml_size(len(nested)) + nested
    tag = b"\x73\x73" + _ebml_size(len(nested)) + nested
    tags = b"\x12\x54\xc3\x67" + _ebml_size(len(tag)) + tag
    _write_matroska(path, tags)


def matroska_with_endless_element(path: Path) -> None:
    _write_matroska(path, b"\x16\x54\xae\x6b" + b"\x01\xff\xff\xff\xff\xff\xff\xfe" + bytes(100))


def _write_matroska(path: Path, body: bytes) -> None:
    kind = b"\x42\x82\x88matroska"
    path.write_bytes(
        b"\x1a\x45\xdf\xa3" + _ebml_size(len(kind)) + kind + b"\x18\x53\x80\x67\x01" + b"\xff" * 7 + body
    )


def _ebml_size(count: int) -> bytes:
    return (count | 1 << 56).to_bytes(8, "big")


def avi_claiming(path: Path) -> None:
    path.write_bytes(b"RIFF\xff\xff\xff\xffAVI LIST\xff\xff\xff\xffhdrlavih" + b"\xff" * 4_000)


def mp3_with_large_picture(path: Path) -> None:
    """30 MB of cover, and no sound."""
    size = 30_000_000
    tag = bytes(size >> shift & 0x7F for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\x03\0\0" + tag + b"APIC" + struct.pack(">IH", size - 20, 0) + bytes(size))


def wav_claiming(path: Path) -> None:
    described = struct.pack("<HHIIHH", 1, 65_535, 0xFFFFFFFF, 0xFFFFFFFF, 65_535, 65_535)
    path.write_bytes(
        b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0" + described + b"data\xff\xff\xff\xff" + bytes(10_000)
    )


def noise_after(head: bytes) -> Write:
    return lambda path: (path.write_bytes(head + random.Random(5).randbytes(200_000)), None)[1]


def mjpeg_that_grows(path: Path) -> None:
    """Its third picture is larger than any screen."""
    write_mjpeg(path, pictures=5)
    raw = bytearray(path.read_bytes())
    at = -1
    for _ in range(3):
        at = raw.index(b"\xff\xc0", at + 1)
    raw[at + 5 : at + 9] = struct.pack(">HH", 32_000, 32_000)
    path.write_bytes(raw)


def mp4_of_2_million_pictures(path: Path) -> None:
    """All of them the same bytes of the file."""

    def repeat(moov: bytes) -> bytes:
        at = struct.unpack_from(">I", moov, moov.index(b"stco") + 12)[0]
        size = struct.unpack_from(">I", moov, moov.index(b"stsz") + 16)[0]
        count = 2_000_000
        for name, body in (
            (b"stsz", struct.pack(">III", 0, size, count)),
            (b"stsc", struct.pack(">IIIII", 0, 1, 1, 1, 1)),
            (b"stco", struct.pack(">II", 0, count) + struct.pack(">I", at) * count),
            (b"stts", struct.pack(">IIII", 0, 1, count, 1)),
        ):
            moov = _with_body(moov, name, body)
        return moov.replace(b"edts", b"free")

    _write_patched(path, repeat)


def _base(path: Path) -> tuple[bytes, bytes, bytes]:
    """(what is before, what is in, what is after) the index of a good MP4."""
    write_h264(path, seconds=1)
    raw = path.read_bytes()
    at = raw.index(b"moov") - 4
    size = struct.unpack_from(">I", raw, at)[0]
    return raw[:at], raw[at + 8 : at + size], raw[at + size :]


def _write_patched(path: Path, patch: Callable[[bytes], bytes]) -> None:
    """A good MP4 with its index changed; sizes of the boxes around a change follow it."""
    before, moov, after = _base(path)
    body = patch(moov)
    path.write_bytes(before + struct.pack(">I4s", len(body) + 8, b"moov") + body + after)


_CONTAINERS = (b"trak", b"mdia", b"minf", b"stbl", b"edts")


def _first_box(raw: bytes, name: bytes) -> bytes:
    at = raw.index(name) - 4
    return raw[at : at + struct.unpack_from(">I", raw, at)[0]]


def _with_body(raw: bytes, name: bytes, body: bytes) -> bytes:
    """With the first box of the name holding `body`, wherever it lies."""
    out, at, done = b"", 0, False
    while at < len(raw):
        size, kind = struct.unpack_from(">I4s", raw, at)
        inner = raw[at + 8 : at + size]
        if not done and kind == name:
            inner, done = body, True
        elif not done and kind in _CONTAINERS and name in inner:
            inner, done = _with_body(inner, name, body), True
        out += struct.pack(">I4s", len(inner) + 8, kind) + inner
        at += size
    return out


def _with_claim(raw: bytes, name: bytes, count: int) -> bytes:
    """With a count of entries in the first box of the name that is not theirs."""
    at = raw.index(name) + 8
    return raw[:at] + struct.pack(">I", count) + raw[at + 4 :]


IMAGES: dict[str, Write] = {
    "png of zeros": png_of_zeros,
    "png claiming 4 gigapixels": png_claiming,
    "png with a profile bomb": png_with_profile_bomb,
    "png with 500 text bombs": png_with_text_bombs,
    "gif of 50000 frames": gif_of_many_frames,
    "gif claiming 4 gigapixels": gif_claiming,
    "gif frame outside its canvas": gif_frame_outside,
    "webp claiming 268 megapixels": webp_claiming,
    "webp of 300 frames": webp_of_many_frames,
    "avif claiming 40 gigapixels": avif_claiming,
    "heic claiming 40 gigapixels": heic_claiming,
    "jpeg with 16 MB of metadata": jpeg_with_much_metadata,
    "jpeg of 600 scans": jpeg_of_many_scans,
    "jpeg claiming 4 gigapixels": jpeg_claiming,
    "jpeg of one line": jpeg_of_one_line,
    "photo packed with gzip": photo_packed_with_gzip,
    "jpeg of noise": noise_after(b"\xff\xd8\xff\xe0"),
    "empty photo": lambda path: path.touch(),
    "text as a photo": lambda path: (path.write_text("Dear diary"), None)[1],
}
RECORDINGS: dict[str, Write] = {
    "mp4 of 10000 streams": mp4_of_10000_streams,
    "mp4 of 40 streams": mp4_of_40_streams,
    "mp4 with endless samples": mp4_with_endless_samples,
    "mp4 with endless times": mp4_with_endless_times,
    "mp4 with absurd descriptions": mp4_with_absurd_descriptions,
    "mp4 with an absurd edit list": mp4_with_absurd_edit_list,
    "mp4 claiming 10 hours": mp4_claiming_10_hours,
    "mp4 that grows": mp4_that_grows,
    "mp4 of 2 million pictures": mp4_of_2_million_pictures,
    "mjpeg that grows": mjpeg_that_grows,
    "mp4 of nested boxes": mp4_of_nested_boxes,
    "matroska of nested tags": matroska_of_nested_tags,
    "matroska with an endless element": matroska_with_endless_element,
    "avi claiming everything": avi_claiming,
    "mp3 with a large picture": mp3_with_large_picture,
    "wav claiming 65535 channels": wav_claiming,
    "mpeg-ts of noise": noise_after(b"G" + bytes(187) + b"G"),
    "ogg of noise": noise_after(b"OggS"),
    "flac of noise": noise_after(b"fLaC"),
    "concat list as 3gp": lambda path: (path.write_text("ffconcat version 1.0\nfile '/etc/passwd'\n"), None)[
        1
    ],
    "playlist as 3gp": lambda path: (path.write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n"), None)[1],
    "empty video": lambda path: path.touch(),
}
