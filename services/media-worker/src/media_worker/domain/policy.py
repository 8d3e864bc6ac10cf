"""What files are taken: decided from their first bytes and what a probe says, before anything is decoded."""

from dataclasses import dataclass
from typing import Literal

from kinstream.errors import PermanentError

Family = Literal["av", "image"]

HEAD_BYTES = 4_096
"""So much of a file's beginning tells its format."""

_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
_QUICKTIME_ATOMS = {b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"}
_TS_PACKET_BYTES = 188
_MP3_SYNC = 0xE0
_MOST_UNITS_A_SECOND = 240

DECODERS = (
    *("h263", "mpeg4", "h264", "hevc", "libdav1d", "av1", "vp8", "vp9", "mjpeg", "mpeg1video", "mpeg2video"),
    *("msmpeg4v2", "msmpeg4", "flv", "vc1", "wmv3", "prores", "dvvideo", "qtrle", "rawvideo"),
    *(
        "aac",
        "mp3",
        "mp3float",
        "mp2",
        "mp2float",
        "opus",
        "libopus",
        "vorbis",
        "flac",
        "alac",
        "ac3",
        "eac3",
    ),
    *("amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb", "qcelp", "evrc", "wmav2"),
    *("adpcm_ms", "adpcm_ima_wav", "adpcm_ima_qt", "gsm_ms", "pcm_alaw", "pcm_mulaw", "pcm_u8", "pcm_s8"),
    *("pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be", "pcm_f32le", "pcm_f32be"),
)
"""What phones and cameras write. Nothing else is ever decoded: each decoder is a way in."""


@dataclass(frozen=True, slots=True)
class Format:
    """A file format that is taken. `name` is what its decoder calls it, and no other one is ever tried."""

    family: Family
    name: str


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on what is decoded."""

    video_pixels: int
    video_duration_seconds: float
    image_pixels: int
    streams: int


@dataclass(frozen=True, slots=True)
class Colors:
    """What the numbers of a picture mean, in the codes of ITU-T H.273; 2 is "not told"."""

    matrix: int = 2
    primaries: int = 2
    transfer: int = 2


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What is known of a file's picture. `rotation` is how many degrees counterclockwise it is shown."""

    codec: str
    width: int
    height: int
    pixel_format: str = "yuv420p"
    rotation: int = 0
    pixel_aspect: tuple[int, int] = (1, 1)
    """A pixel's width to its height."""
    frame_rate: float = 0.0
    """Pictures a second on average; 0 where it is not told."""
    interlaced: bool = False
    colors: Colors = Colors()


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """What is known of a file's sound."""

    codec: str
    sample_rate: int
    channels: int
    bits_a_second: int = 0
    """0 where it is not told."""


@dataclass(frozen=True, slots=True)
class Probe:
    """What a look into a container told, without decoding more than the beginning."""

    container: str
    streams: int
    duration_seconds: float | None
    video: VideoFacts | None
    audio: AudioFacts | None
    pictures: int = 0
    """How many its index lists; 0 where it lists none."""


def recognize(head: bytes) -> Format | None:
    """The format that a file's first bytes show, whatever its name and type say; None for every other."""
    brand = head[8:12]
    if head[4:8] == b"ftyp" and brand in _HEIF_BRANDS:
        return Format("image", "HEIF")
    if head[4:8] == b"ftyp" and brand in (b"avif", b"avis"):
        return Format("image", "AVIF")
    if head[4:8] in _QUICKTIME_ATOMS:
        return Format("av", "mov")
    if head[:4] == b"RIFF":
        return _RIFF.get(brand)
    for magic, known in _MAGIC:
        if head.startswith(magic):
            return known
    if head[:1] == b"G" and head[_TS_PACKET_BYTES : _TS_PACKET_BYTES + 1] == b"G":
        return Format("av", "mpegts")
    if len(head) > 1 and head[0] == 0xFF and head[1] & _MP3_SYNC == _MP3_SYNC:
        return Format("av", "aac" if head[1] & 0x06 == 0 else "mp3")
    return None


def check_format(found: Format | None, kind: str) -> Format:
    """The format, if it suits what was declared; PermanentError with what to do where it does not."""
    if found is None:
        raise PermanentError(
            "this is no media file that can be read: send a video (MP4, MOV, 3GP, MKV, AVI), "
            "a photo (JPEG, PNG, WebP, HEIC) or a sound recording"
        )
    declared: Family = "image" if kind == "image" else "av"
    if found.family != declared:
        actual = "a photo" if found.family == "image" else "a video or a sound recording"
        raise PermanentError(f"declared as {kind}, but the file is {actual}: declare it as what it is")
    return found


def check_bytes(size_bytes: int, most_bytes: int) -> None:
    """PermanentError for an empty file and for one that is too large."""
    if size_bytes == 0:
        raise PermanentError("the uploaded file is empty")
    if size_bytes > most_bytes:
        raise PermanentError(f"the file has {size_bytes:,} bytes, {most_bytes:,} are allowed")


def check_image(width: int, height: int, limits: Limits) -> None:
    """PermanentError for an image with too many pixels to decode."""
    if width * height > limits.image_pixels:
        raise PermanentError(
            f"the image claims {width} x {height} pixels, {limits.image_pixels:,} in all are allowed"
        )


def check_probe(probe: Probe, limits: Limits) -> None:
    """PermanentError for a container that must not be decoded, with the first reason found."""
    if probe.streams > limits.streams:
        raise PermanentError(f"the file has {probe.streams} streams, {limits.streams} are allowed")
    if probe.video is None and probe.audio is None:
        raise PermanentError("the file holds neither pictures nor sound that can be decoded")
    if probe.video is not None:
        check_picture(probe.video.width, probe.video.height, limits)
    if probe.duration_seconds is not None:
        check_duration(probe.duration_seconds, limits)
    check_pictures(probe.pictures, limits)


def check_picture(width: int, height: int, limits: Limits) -> None:
    """PermanentError for a picture that is too large, or of no size at all."""
    if width < 2 or height < 2:
        # A decoder that is told the limit refuses larger pictures without saying how large they are.
        raise PermanentError(
            f"the video has no picture that can be decoded, "
            f"or one of more than {limits.video_pixels:,} pixels"
        )
    if width * height > limits.video_pixels:
        raise PermanentError(
            f"the video claims {width} x {height} pixels, {limits.video_pixels:,} in all are allowed"
        )


def check_duration(seconds: float, limits: Limits) -> None:
    """PermanentError for a recording that is too long, or claims to be."""
    if seconds > limits.video_duration_seconds:
        raise PermanentError(
            f"the recording lasts {seconds / 60:.0f} minutes, "
            f"{limits.video_duration_seconds / 60:.0f} are allowed"
        )


def check_pictures(count: int, limits: Limits) -> None:
    """PermanentError for more pictures or packets than a recording of the allowed length can have.

    A small file can hold millions of pictures that repeat the one before.
    """
    most = round(limits.video_duration_seconds * _MOST_UNITS_A_SECOND)
    if count > most:
        raise PermanentError(f"the recording has more than {most:,} pictures or pieces of sound")


_RIFF = {
    b"AVI ": Format("av", "avi"),
    b"WAVE": Format("av", "wav"),
    b"WEBP": Format("image", "WEBP"),
}
_MAGIC = (
    (b"\xff\xd8\xff", Format("image", "JPEG")),
    (b"\x89PNG\r\n\x1a\n", Format("image", "PNG")),
    (b"GIF87a", Format("image", "GIF")),
    (b"GIF89a", Format("image", "GIF")),
    (b"\x1aE\xdf\xa3", Format("av", "matroska")),
    (b"#!AMR", Format("av", "amr")),
    (b"OggS", Format("av", "ogg")),
    (b"fLaC", Format("av", "flac")),
    (b"ID3", Format("av", "mp3")),
)
