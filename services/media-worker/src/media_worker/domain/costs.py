"""About how long work on a recording keeps a core: for the choice of the queue and for progress. Pure."""

from media_worker.domain.policy import VideoFacts
from media_worker.domain.recordings import is_hdr

# Seconds a megapixel on one core of a small server; within a factor of two on others.
_DECODE = {"hevc": 0.005, "av1": 0.005, "libdav1d": 0.005, "vp9": 0.004, "h263": 0.0015, "mpeg4": 0.0015}
_DECODE_OTHER = 0.003
_ENCODE = 0.012
_SCALE = 0.001
_DEINTERLACE = 0.004
_TONE_MAP = 0.02
_TONE_MAP_TABLE_SECONDS = 0.3
_SOUND_A_SECOND = 0.004
_COPY_A_MEGABYTE = 0.005
START_SECONDS = 0.1

_USUAL_FRAME_RATE = 30.0


def frames(facts: VideoFacts, duration_seconds: float) -> float:
    """About how many pictures it has."""
    return duration_seconds * (min(facts.frame_rate, 120.0) or _USUAL_FRAME_RATE)


def decode_seconds(facts: VideoFacts, pictures: float) -> float:
    """To decode so many of its pictures."""
    a_megapixel = _DECODE.get(facts.codec, _DECODE_OTHER) + (_DEINTERLACE if facts.interlaced else 0)
    return pictures * facts.width * facts.height / 1e6 * a_megapixel


def encode_seconds(facts: VideoFacts, pictures: float, width: int, height: int) -> float:
    """To scale so many of its pictures to this size and encode them."""
    tone_map = _TONE_MAP if is_hdr(facts) else 0.0
    table = _TONE_MAP_TABLE_SECONDS if is_hdr(facts) else 0.0
    return table + pictures * width * height / 1e6 * (_ENCODE + _SCALE + tone_map)


def picture_seconds(facts: VideoFacts, pictures: int) -> float:
    """To decode so many single pictures, each with a search in the file."""
    table = _TONE_MAP_TABLE_SECONDS if is_hdr(facts) else 0.0
    return table + pictures * (0.005 + 3 * decode_seconds(facts, 1))


def sound_seconds(duration_seconds: float) -> float:
    """To decode and encode sound."""
    return duration_seconds * _SOUND_A_SECOND


def copy_seconds(size_bytes: int) -> float:
    """To pass streams on as they are."""
    return size_bytes / 1e6 * _COPY_A_MEGABYTE
