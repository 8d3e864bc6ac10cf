"""A stream in several sizes (HLS): which ones, and what its playlists say. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from media_worker.domain.options import RecordingOptions
from media_worker.domain.policy import VideoFacts
from media_worker.domain.recipes import Facts, Made
from media_worker.domain.recordings import shown_size

SOUND_NAME = "hls-audio"
PLAYLIST_TYPE = "application/vnd.apple.mpegurl"


@dataclass(frozen=True, slots=True)
class Rung:
    """One size of the ladder, by its shorter side."""

    name: str
    shorter_side: int
    most_bits_a_second: int


@dataclass(frozen=True, slots=True)
class Segment:
    """A piece of a media file that can be played by itself."""

    first_byte: int
    size_bytes: int
    duration_seconds: float


def wants_ladder(facts: Facts, options: RecordingOptions) -> bool:
    """Whether the video is so long or so large that it should not be fetched in one piece."""
    if facts.recording is None or facts.recording.video is None or not facts.duration_seconds:
        return False
    return facts.duration_seconds >= options.hls_from_seconds or facts.size_bytes >= options.hls_from_bytes


def rungs(facts: VideoFacts, options: RecordingOptions) -> list[Rung]:
    """The sizes, largest first: none above the source's, and at least one."""
    shorter = min(shown_size(facts))
    ladder = [Rung(f"hls-{side}", side, bits) for side, bits in options.hls_rungs if side <= shorter]
    if ladder:
        return ladder
    side = max(2, shorter - shorter % 2)
    return [Rung(f"hls-{side}", side, min(bits for _, bits in options.hls_rungs))]


def media_playlist(file_name: str, init_bytes: int, segments: Sequence[Segment]) -> str:
    """The playlist of one file that holds all segments one after another."""
    longest = max((segment.duration_seconds for segment in segments), default=1.0)
    lines = [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        f"#EXT-X-TARGETDURATION:{math.ceil(longest - 0.5) or 1}",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        f'#EXT-X-MAP:URI="{file_name}",BYTERANGE="{init_bytes}@0"',
    ]
    for segment in segments:
        lines += [
            f"#EXTINF:{segment.duration_seconds:.6f},",
            f"#EXT-X-BYTERANGE:{segment.size_bytes}@{segment.first_byte}",
            file_name,
        ]
    return "\n".join([*lines, "#EXT-X-ENDLIST", ""])


def bandwidths(segments: Sequence[Segment]) -> tuple[int, int]:
    """Peak and average bits a second, as BANDWIDTH and AVERAGE-BANDWIDTH are defined.

    Pieces shorter than half of the longest are no peak by themselves.
    """
    longest = max(segment.duration_seconds for segment in segments)
    whole = [segment for segment in segments if segment.duration_seconds >= longest / 2]
    peak = max(segment.size_bytes * 8 / segment.duration_seconds for segment in whole)
    total_bytes = sum(segment.size_bytes for segment in segments)
    average = total_bytes * 8 / sum(segment.duration_seconds for segment in segments)
    return math.ceil(max(peak, average)), math.ceil(average)


def master_playlist(made: Sequence[Made]) -> str | None:
    """The playlist of playlists; None where no size was made, or where a video would lose its sound."""
    sizes = [one for one in made if one.kind == "hls-playlist" and one.name != SOUND_NAME]
    sound = next((one for one in made if one.name == SOUND_NAME), None)
    if not sizes or (sound is None and any(one.detail["has_sound"] for one in sizes)):
        return None
    lines = ["#EXTM3U", "#EXT-X-VERSION:7", "#EXT-X-INDEPENDENT-SEGMENTS"]
    if sound:
        lines.append(
            '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="sound",DEFAULT=YES,AUTOSELECT=YES,'
            f'CHANNELS="{sound.detail["channels"]}",URI="{sound.file_name}"'
        )
    for one in sorted(sizes, key=lambda one: int(one.detail["bandwidth"])):
        lines += [_stream_line(one, sound), one.file_name]
    return "\n".join([*lines, ""])


def _stream_line(one: Made, sound: Made | None) -> str:
    heard = sound.detail if sound else {"bandwidth": 0, "average_bandwidth": 0}
    codecs = ",".join(made.codecs for made in (one, sound) if made and made.codecs)
    parts = [
        f"BANDWIDTH={one.detail['bandwidth'] + heard['bandwidth']}",
        f"AVERAGE-BANDWIDTH={one.detail['average_bandwidth'] + heard['average_bandwidth']}",
        f"RESOLUTION={one.width}x{one.height}",
        f'CODECS="{codecs}"',
    ]
    if one.detail["frame_rate"]:
        parts.append(f"FRAME-RATE={one.detail['frame_rate']:.3f}")
    if sound:
        parts.append('AUDIO="sound"')
    return "#EXT-X-STREAM-INF:" + ",".join(parts)
