"""What a file that was made is, told from the file itself."""

from dataclasses import dataclass
from pathlib import Path

import av
from av.codec.context import CodecContext

from media_worker.codecs.video.reading import SKIM

_SPS = 7
_ESCAPE, _LONG_ESCAPE = 31, 32


@dataclass(frozen=True, slots=True)
class Description:
    """Of an MP4 or M4A."""

    duration_seconds: float
    codecs: str | None
    """As in RFC 6381; None where a codec has no such name here."""
    channels: int = 0
    frame_rate: float = 0.0
    """Pictures a second on average."""


def describe(path: Path) -> Description:
    """Read the file's head."""
    with av.open(str(path), format="mov", options=SKIM) as made:
        contexts = [stream.codec_context for stream in (*made.streams.video, *made.streams.audio)]
        names = [_name(context) for context in contexts]
        audio = made.streams.audio
        return Description(
            duration_seconds=made.duration / av.time_base if made.duration else 0.0,
            codecs=",".join(name for name in names if name) if all(names) else None,
            frame_rate=float(made.streams.video[0].average_rate or 0) if made.streams.video else 0.0,
            channels=audio[0].channels if audio else 0,
        )


def _name(context: CodecContext) -> str | None:
    raw = context.extradata or b""
    if context.name == "h264":
        return _avc(raw)
    if context.name == "aac" and raw:
        kind = raw[0] >> 3
        if kind == _ESCAPE and len(raw) > 1:
            kind = _LONG_ESCAPE + ((raw[0] & 7) << 3 | raw[1] >> 5)
        return f"mp4a.40.{kind}"
    return None


def _avc(raw: bytes) -> str | None:
    if raw[:1] == b"\x01" and len(raw) >= 4:
        return f"avc1.{raw[1:4].hex()}"
    at = raw.find(b"\x00\x00\x01")
    while at >= 0 and at + 7 <= len(raw):
        if raw[at + 3] & 0x1F == _SPS:
            return f"avc1.{raw[at + 4 : at + 7].hex()}"
        at = raw.find(b"\x00\x00\x01", at + 3)
    return None
