"""Recordings through FFmpeg's libraries: probe, MP4 or M4A, poster. Nothing else here imports `av`.

The format is given, never guessed, so that a playlist under a video's name opens nothing; sizes are
held to the limits before and while decoding. A stream with broken places keeps what plays.
"""

from media_worker.codecs.video.convert import convert
from media_worker.codecs.video.poster import write_poster
from media_worker.codecs.video.reading import probe

__all__ = ["convert", "probe", "write_poster"]
