"""Recordings through FFmpeg's libraries. Nothing else here imports `av`.

The format is given, never guessed, so that a playlist under a video's name opens nothing; decoders come
from a list of names; sizes, numbers of pictures and times are held to the limits before and while
decoding. A stream with broken places keeps what plays.
"""

from media_worker.codecs.video.convert import convert, write_segments
from media_worker.codecs.video.describing import describe
from media_worker.codecs.video.poster import write_poster
from media_worker.codecs.video.preview import write_preview
from media_worker.codecs.video.reading import Source, probe
from media_worker.codecs.video.segments import read_segments
from media_worker.codecs.video.storyboard import write_sheet

__all__ = [
    "Source",
    "convert",
    "describe",
    "probe",
    "read_segments",
    "write_poster",
    "write_preview",
    "write_segments",
    "write_sheet",
]
