"""Pictures as JPEG."""

from fractions import Fraction
from pathlib import Path

import av
from av.video.frame import VideoFrame

from media_worker.codecs.video.pictures import Pictures
from media_worker.domain.recordings import PictureRecipe

JPEG_FORMAT = "yuvj420p"
_FULL_RANGE = 2
_QUALITY = "3"


def jpeg(frame: VideoFrame, recipe: PictureRecipe, scratch: Path) -> bytes:
    """A decoded picture in the recipe's form."""
    return encoded(Pictures(recipe, scratch, JPEG_FORMAT).one(frame))


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
