"""Pictures as JPEG."""

from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.video.frame import VideoFrame

from media_worker.codecs.video.pictures import Pictures
from media_worker.domain.geometry import fit
from media_worker.domain.recordings import PictureRecipe

JPEG_FORMAT = "yuvj420p"
_FULL_RANGE = 2
_QUALITY = "3"
_TINY_SIDE = 32


def jpeg(frame: VideoFrame, recipe: PictureRecipe, scratch: Path) -> bytes:
    """A decoded picture in the recipe's form."""
    return encoded(Pictures(recipe, scratch, JPEG_FORMAT).one(frame))


class Tiny(NamedTuple):
    """A picture of few pixels: rows of red, green, blue, alpha."""

    width: int
    height: int
    rgba: bytes


def tiny(shown: VideoFrame) -> Tiny:
    """The picture with its longer side at most 32 pixels."""
    width, height = fit(shown.width, shown.height, _TINY_SIDE)
    (plane,) = shown.reformat(width, height, "rgba", interpolation="AREA").planes
    rows, row = memoryview(plane), width * 4
    return Tiny(
        width,
        height,
        b"".join(rows[at : at + row] for at in range(0, height * plane.line_size, plane.line_size)),
    )


def encoded(shown: VideoFrame) -> bytes:
    """A picture that is in its form already."""
    encoder = av.CodecContext.create("mjpeg", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = shown.width, shown.height, JPEG_FORMAT
    encoder.color_range = _FULL_RANGE
    encoder.time_base = Fraction(1, 25)
    encoder.thread_count = 1
    encoder.flags |= av.codec.context.Flags.bitexact
    encoder.options = {"qmin": _QUALITY, "qmax": _QUALITY}
    shown.pts, shown.pict_type = 0, 0
    return b"".join(bytes(packet) for packet in [*encoder.encode(shown), *encoder.encode(None)])
