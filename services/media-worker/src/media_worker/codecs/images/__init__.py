"""Photos: libvips reads and scales them, Pillow writes them. Nothing outside imports any of the two.

libvips reads as a stream, so that a photo is never whole in memory where its format allows that, and scales
faster than Pillow; Pillow's JPEG encoder is faster than the one of libvips. The benchmark `thumbnails`
holds both to sharp.
"""

from media_worker.codecs.images.picture import Picture
from media_worker.codecs.images.reading import Original, opened
from media_worker.codecs.images.telling import focal_point, placeholder, told
from media_worker.codecs.images.thumbnails import cascade, look

__all__ = [
    "Original",
    "Picture",
    "cascade",
    "focal_point",
    "look",
    "opened",
    "placeholder",
    "told",
]
