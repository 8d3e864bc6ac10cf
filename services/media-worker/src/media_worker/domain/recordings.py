"""What is made of a recording: pure decisions, carried out by the codecs."""

from dataclasses import dataclass
from fractions import Fraction

from media_worker.domain.geometry import Scale, clockwise_turn, fit
from media_worker.domain.policy import AudioFacts, Probe, VideoFacts

POSTER_SIDE = 1280
POSTER_CANDIDATES = 5

_COPIED_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
_LOW_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class VideoRecipe:
    """How a picture goes into the MP4: as it is, or encoded with these measures."""

    copy: bool
    width: int
    height: int
    turn_degrees: int
    """Clockwise, before scaling; a copied picture keeps its turn as a note to the player instead."""
    pixel_aspect: Fraction


@dataclass(frozen=True, slots=True)
class AudioRecipe:
    """How a sound goes into the MP4: as it is, or as AAC."""

    copy: bool
    bits_a_second: int
    channels: int


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is made of a recording: an MP4 with a poster, or an M4A where there is no picture."""

    video: VideoRecipe | None
    audio: AudioRecipe | None
    poster: Scale | None


def recording_recipe(probe: Probe) -> Recipe:
    """What to do with a probed recording. Streams that every player knows are not encoded again."""
    in_mp4 = probe.container == "mov"
    video = _video(probe.video, in_mp4) if probe.video else None
    return Recipe(
        video=video,
        audio=_audio(probe.audio, in_mp4) if probe.audio else None,
        poster=_poster(probe.video) if probe.video else None,
    )


def _video(facts: VideoFacts, in_mp4: bool) -> VideoRecipe:
    turn = clockwise_turn(facts.rotation)
    width, height, aspect = _turned(facts.width, facts.height, facts.pixel_aspect, turn)
    copy = in_mp4 and facts.codec == "h264" and facts.pixel_format in _COPIED_PIXEL_FORMATS
    if not copy:
        # 4:2:0 has one colour for four pixels: a picture of odd size loses its last row or column.
        width, height = width - width % 2, height - height % 2
    return VideoRecipe(copy, width, height, turn, aspect)


def _audio(facts: AudioFacts, in_mp4: bool) -> AudioRecipe:
    channels = min(2, max(1, facts.channels))
    # Speech coded for the telephone gains nothing from more bits; they could outweigh the picture.
    bits = 32_000 if facts.sample_rate <= _LOW_RATE_HZ else 64_000 * channels
    return AudioRecipe(in_mp4 and facts.codec == "aac", bits, channels)


def _poster(facts: VideoFacts) -> Scale:
    turn = clockwise_turn(facts.rotation)
    width, height, aspect = _turned(facts.width, facts.height, facts.pixel_aspect, turn)
    if aspect >= 1:
        width = round(width * aspect)
    else:
        height = round(height / aspect)
    width, height = fit(width, height, POSTER_SIDE)
    return Scale("poster", max(2, width - width % 2), max(2, height - height % 2))


def _turned(width: int, height: int, aspect: Fraction, turn_degrees: int) -> tuple[int, int, Fraction]:
    return (height, width, 1 / aspect) if turn_degrees % 180 else (width, height, aspect)
