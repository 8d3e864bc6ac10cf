"""What is made of a recording: pure decisions, carried out by the codecs."""

from dataclasses import dataclass
from fractions import Fraction

from media_worker.domain.geometry import clockwise_turn, even, fit, square_pixels
from media_worker.domain.options import RecordingOptions
from media_worker.domain.policy import AudioFacts, Colors, Probe, VideoFacts
from media_worker.domain.tones import HLG, PQ

POSTER_CANDIDATES = 5

BT709 = Colors(1, 1, 1)
_PLAYABLE_PIXEL_FORMATS = ("yuv420p", "yuvj420p")
# AVI tells no presentation times, and guessed ones are wrong where pictures are reordered.
_COPIED_VIDEO_FROM = ("mov", "matroska", "mpegts")
_COPIED_AUDIO_FROM = ("mov", "matroska", "mpegts", "aac")
_LOW_RATE_HZ, _WIDE_SPEECH_RATE_HZ = 8_000, 16_000
_LEAST_BITS, _MOST_BITS = 24_000, 64_000
_INDEX_HEAD_BYTES, _INDEX_ENTRY_BYTES = 4_096, 24
"""An MP4's index has 10 to 17 bytes a picture or piece of sound, more where all times are uneven."""
_AAC_SAMPLES = 1_024
_MOST_ROOM = 0.01


@dataclass(frozen=True, slots=True)
class PictureRecipe:
    """How decoded pictures become shown ones: sides as shown, after the turn."""

    width: int
    height: int
    turn_degrees: int = 0
    """Clockwise."""
    pixel_aspect: Fraction = Fraction(1)
    deinterlace: bool = False
    tone_map: int | None = None
    """The code of a transfer for brighter screens than usual ones, from which colours are brought down."""
    colors: Colors = BT709
    """What the numbers of the shown picture mean."""


@dataclass(frozen=True, slots=True)
class H264Recipe:
    """How pictures are encoded."""

    crf: int = 23
    preset: str = "veryfast"
    most_frames_a_second: int = 60
    most_bits_a_second: int | None = None
    segment_seconds: float | None = None
    """So often there is a picture to start from, at the same times whatever the size."""

    @property
    def options(self) -> dict[str, str]:
        """As x264 wants them."""
        chosen = {"crf": str(self.crf), "preset": self.preset}
        if self.most_bits_a_second is not None:
            chosen |= {
                "maxrate": str(self.most_bits_a_second),
                "bufsize": str(2 * self.most_bits_a_second),
            }
        if self.segment_seconds is not None:
            chosen |= {"g": "9999", "sc_threshold": "0", "forced-idr": "1"}
        return chosen


@dataclass(frozen=True, slots=True)
class VideoRecipe:
    """How a picture goes into the MP4: as it is, with a note to the player on its turn, or encoded."""

    copy: bool
    picture: PictureRecipe

    @property
    def width(self) -> int:
        return self.picture.width

    @property
    def height(self) -> int:
        return self.picture.height


@dataclass(frozen=True, slots=True)
class AudioRecipe:
    """How a sound goes into the MP4: as it is, or as AAC."""

    copy: bool
    bits_a_second: int
    channels: int
    sample_rate: int
    loudness_lufs: float | None = None


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is made of a recording: an MP4 with a poster, or an M4A where there is no picture."""

    video: VideoRecipe | None
    audio: AudioRecipe | None
    poster: PictureRecipe | None


_DEFAULTS = RecordingOptions()


def recording_recipe(probe: Probe, options: RecordingOptions = _DEFAULTS) -> Recipe:
    """What to do with a probed recording. Streams that every player knows are not encoded again."""
    return Recipe(
        video=_video(probe.video, probe.container, options) if probe.video else None,
        audio=_audio(probe.audio, probe.container, options) if probe.audio else None,
        poster=scaled(probe.video, options.poster_side) if probe.video else None,
    )


def h264_recipe(
    options: RecordingOptions,
    most_bits_a_second: int | None = None,
    segment_seconds: float | None = None,
) -> H264Recipe:
    """As the operator chose."""
    return H264Recipe(
        crf=options.crf,
        preset=options.preset,
        most_frames_a_second=options.most_frames_a_second,
        most_bits_a_second=most_bits_a_second,
        segment_seconds=segment_seconds,
    )


def index_room_bytes(probe: Probe, recipe: Recipe, size_bytes: int) -> int:
    """Room to leave for the index at the head of an MP4 whose pictures are copied from a file of this size.

    With it the file is written once, else once more with its index first; 0 where that costs less than
    the room would.
    """
    if not (probe.video and probe.duration_seconds and recipe.video and recipe.video.copy):
        return 0
    entries = probe.pictures or probe.duration_seconds * probe.video.frame_rate
    if recipe.audio:
        entries += probe.duration_seconds * recipe.audio.sample_rate / _AAC_SAMPLES
    room_bytes = _INDEX_HEAD_BYTES + round(entries * _INDEX_ENTRY_BYTES)
    return room_bytes if room_bytes <= _MOST_ROOM * size_bytes else 0


def shown_size(facts: VideoFacts) -> tuple[int, int]:
    """Width and height on a screen with square pixels, right way up."""
    width, height = square_pixels(facts.width, facts.height, facts.pixel_aspect)
    return (height, width) if clockwise_turn(facts.rotation) % 180 else (width, height)


def scaled(facts: VideoFacts, longest_side: int) -> PictureRecipe:
    """A small picture of the video, upright and with square pixels; never enlarged."""
    return _picture(facts, *even(*fit(*shown_size(facts), longest_side)), Fraction(1))


def rung_picture(facts: VideoFacts, shorter_side: int) -> PictureRecipe:
    """The video with its shorter side of this length, upright and with square pixels; never enlarged."""
    width, height = shown_size(facts)
    side = fit(width, height, round(shorter_side * max(width, height) / min(width, height)))
    return _picture(facts, *even(*side), Fraction(1))


def is_hdr(facts: VideoFacts) -> bool:
    """Whether its colours are meant for brighter screens than browsers may assume."""
    return facts.colors.transfer in (PQ, HLG)


def _picture(facts: VideoFacts, width: int, height: int, pixel_aspect: Fraction) -> PictureRecipe:
    keeps_meaning = facts.pixel_format.startswith(("yuv", "nv", "p0", "gray")) and not is_hdr(facts)
    return PictureRecipe(
        width=width,
        height=height,
        turn_degrees=clockwise_turn(facts.rotation),
        pixel_aspect=pixel_aspect,
        deinterlace=facts.interlaced,
        tone_map=facts.colors.transfer if is_hdr(facts) else None,
        colors=facts.colors if keeps_meaning else BT709,
    )


def _video(facts: VideoFacts, container: str, options: RecordingOptions) -> VideoRecipe:
    aspect = Fraction(*facts.pixel_aspect)
    width, height = facts.width, facts.height
    if clockwise_turn(facts.rotation) % 180:
        width, height, aspect = height, width, 1 / aspect
    bounded = _within(width, height, options)
    copy = (
        container in _COPIED_VIDEO_FROM
        and facts.codec == "h264"
        and facts.pixel_format in _PLAYABLE_PIXEL_FORMATS
        and not facts.interlaced
        and not is_hdr(facts)
        and bounded == (width, height)
        and facts.frame_rate <= options.most_frames_a_second * 1.05
    )
    # 4:2:0 has one colour for four pixels: a picture of odd size loses its last row or column.
    picture = _picture(facts, *(bounded if copy else even(*bounded)), aspect)
    return VideoRecipe(copy, picture)


def _within(width: int, height: int, options: RecordingOptions) -> tuple[int, int]:
    share = min(
        Fraction(1),
        Fraction(options.longest_side, max(width, height)),
        Fraction(options.shortest_side, min(width, height)),
    )
    return max(2, round(width * share)), max(2, round(height * share))


def _audio(facts: AudioFacts, container: str, options: RecordingOptions) -> AudioRecipe:
    channels = min(2, max(1, facts.channels))
    copy = container in _COPIED_AUDIO_FROM and facts.codec == "aac" and options.loudness_lufs is None
    bits = _bits_a_second(facts, channels)
    return AudioRecipe(copy, bits, channels, _aac_rate(facts.sample_rate), options.loudness_lufs)


def _bits_a_second(facts: AudioFacts, channels: int) -> int:
    # Speech coded for the telephone gains nothing from more bits; they could outweigh the picture.
    if facts.sample_rate <= _LOW_RATE_HZ:
        return _LEAST_BITS * channels
    if facts.sample_rate <= _WIDE_SPEECH_RATE_HZ:
        return _LEAST_BITS * channels * 4 // 3
    most = _MOST_BITS * channels
    # A little more than the source had, since AAC has to describe what the other codec left of it.
    wanted = facts.bits_a_second * 5 // 4 if facts.bits_a_second else most
    return min(most, max(_LEAST_BITS * channels * 4 // 3, wanted))


def _aac_rate(sample_rate: int) -> int:
    if sample_rate in (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000):
        return sample_rate
    return 48_000 if sample_rate > 48_000 else 44_100
