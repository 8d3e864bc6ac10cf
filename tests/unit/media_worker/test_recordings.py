"""What is decided about recordings: pure, without a codec."""

from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kinstream.errors import PermanentError
from media_worker.domain import costs, policy, tones
from media_worker.domain.ladder import (
    Segment,
    bandwidths,
    master_playlist,
    media_playlist,
    rungs,
    wants_ladder,
)
from media_worker.domain.options import RecordingOptions
from media_worker.domain.policy import AudioFacts, Colors, Format, Limits, Probe, VideoFacts
from media_worker.domain.recipes import Facts, Made
from media_worker.domain.recordings import (
    index_room_bytes,
    recording_recipe,
    rung_picture,
    scaled,
    shown_size,
)
from media_worker.domain.scrubbing import preview_places, storyboard_columns, storyboard_times, storyboard_vtt

OPTIONS = RecordingOptions()
AAC = AudioFacts("aac", 44_100, 2)
SIDES = st.integers(2, 9_999)
TURNS = st.sampled_from([0, 90, 180, 270])
HD = VideoFacts("h264", 1280, 720, frame_rate=30)


def decide(video: VideoFacts | None, audio: AudioFacts | None = None, container: str = "mov", **chosen):
    return recording_recipe(Probe(container, 2, 5, video, audio), RecordingOptions(**chosen))


@pytest.mark.parametrize("container", ["mov", "matroska", "mpegts"])
def test_h264_and_aac_are_copied_from_containers_that_tell_times(container: str) -> None:
    recipe = decide(HD, AAC, container)
    assert (recipe.video.copy, recipe.audio.copy) == (True, True)


@pytest.mark.parametrize(
    "facts",
    [
        VideoFacts("h263", 352, 288),
        VideoFacts("hevc", 1280, 720),
        VideoFacts("h264", 1280, 720, "yuv420p10le"),
        VideoFacts("h264", 1280, 720, interlaced=True),
        VideoFacts("h264", 3840, 2160),
        VideoFacts("h264", 1280, 720, frame_rate=240),
        VideoFacts("h264", 1280, 720, colors=Colors(9, 9, 18)),
    ],
)
def test_what_some_player_may_not_show_is_encoded(facts: VideoFacts) -> None:
    assert not decide(facts).video.copy


def test_avi_is_never_copied_since_it_tells_no_times() -> None:
    assert not decide(HD, AAC, "avi").video.copy


@given(st.integers(0, 2**32), st.none() | st.floats(0, 40_000), st.integers(0, 10**7))
def test_room_for_an_index_is_a_small_part_of_the_file(
    size_bytes: int, seconds: float | None, pictures: int
) -> None:
    probe = Probe("mov", 2, seconds, HD, AAC, pictures)
    room_bytes = index_room_bytes(probe, recording_recipe(probe), size_bytes)
    assert 0 <= room_bytes <= 0.01 * size_bytes


def test_only_copied_video_has_room_for_its_index_left_beforehand() -> None:
    probe, large = Probe("mov", 2, 60, HD, AAC), 60_000_000
    assert index_room_bytes(probe, recording_recipe(probe), large) > 60 * (30 + 43) * 20
    assert index_room_bytes(replace(probe, duration_seconds=None), recording_recipe(probe), large) == 0
    for other in (replace(probe, video=None), replace(probe, container="avi")):
        assert index_room_bytes(other, recording_recipe(other), large) == 0


def test_sound_is_encoded_where_another_loudness_is_wanted() -> None:
    assert not decide(None, AAC, loudness_lufs=-16).audio.copy


@pytest.mark.parametrize(
    ("facts", "bits"),
    [
        (AudioFacts("amrnb", 8_000, 1, 12_800), 24_000),
        (AudioFacts("amrwb", 16_000, 1, 23_850), 32_000),
        (AudioFacts("mp3", 44_100, 1, 32_000), 40_000),
        (AudioFacts("pcm_s16le", 44_100, 2, 1_411_200), 128_000),
        (AudioFacts("opus", 48_000, 2), 128_000),
    ],
)
def test_bits_of_sound_fit_its_source(facts: AudioFacts, bits: int) -> None:
    assert decide(None, facts).audio.bits_a_second == bits


def test_portrait_phone_video_is_turned_with_its_pixel_shape() -> None:
    recipe = decide(VideoFacts("h263", 352, 288, rotation=-90, pixel_aspect=(12, 11)))
    picture = recipe.video.picture
    assert (picture.width, picture.height, picture.pixel_aspect) == (288, 352, Fraction(11, 12))
    assert (recipe.poster.width, recipe.poster.height) == (288, 384)


def test_sound_alone_has_no_picture_and_no_poster() -> None:
    recipe = decide(None, AudioFacts("amrnb", 8_000, 1), "amr")
    assert (recipe.video, recipe.poster) == (None, None)


@given(SIDES, SIDES, TURNS)
def test_encoded_pictures_are_even_within_bounds_and_never_enlarged(
    width: int, height: int, rotation: int
) -> None:
    facts = VideoFacts("h263", width, height, rotation=rotation)
    shown = shown_size(facts)
    for made in (
        decide(facts).video.picture,
        scaled(facts, 320),
        *(rung_picture(facts, rung.shorter_side) for rung in rungs(facts, OPTIONS)),
    ):
        assert made.width % 2 == made.height % 2 == 0
        assert made.width <= shown[0]
        assert made.height <= shown[1]
    made = decide(facts).video.picture
    assert max(made.width, made.height) <= 1920
    assert min(made.width, made.height) <= 1080


@pytest.mark.parametrize(
    ("facts", "names"),
    [
        (VideoFacts("h264", 1920, 1080), ["hls-1080", "hls-720", "hls-480", "hls-240"]),
        (VideoFacts("h264", 1080, 1920), ["hls-1080", "hls-720", "hls-480", "hls-240"]),
        (VideoFacts("h264", 960, 540), ["hls-480", "hls-240"]),
        (VideoFacts("h264", 3840, 2160), ["hls-1080", "hls-720", "hls-480", "hls-240"]),
        (VideoFacts("h264", 640, 360), ["hls-360", "hls-240"]),
        (VideoFacts("h263", 176, 144), ["hls-144"]),
    ],
)
def test_ladder_has_no_rung_above_the_source_and_one_near_it(facts: VideoFacts, names: list[str]) -> None:
    assert [rung.name for rung in rungs(facts, OPTIONS)] == names


@pytest.mark.parametrize(
    ("seconds", "size_bytes", "wanted"), [(59, 10**6, False), (60, 10**6, True), (5, 2**25, True)]
)
def test_long_and_large_video_gets_a_ladder(seconds: float, size_bytes: int, *, wanted: bool) -> None:
    facts = Facts(Format("av", "mov"), size_bytes, recording=Probe("mov", 1, seconds, HD, None))
    assert wants_ladder(facts, OPTIONS) is wanted


def test_peak_is_of_whole_segments_and_average_of_all() -> None:
    segments = [Segment(0, 1_000, 4.0), Segment(1_000, 2_000, 4.0), Segment(3_000, 1_000, 0.5)]
    assert bandwidths(segments) == (4_000, 3_765)


def test_media_playlist_names_byte_ranges_of_one_file() -> None:
    text = media_playlist("hls-720.mp4", 800, [Segment(800, 1_000, 4.0), Segment(1_800, 500, 1.25)])
    assert text.splitlines() == [
        "#EXTM3U",
        "#EXT-X-VERSION:7",
        "#EXT-X-TARGETDURATION:4",
        "#EXT-X-PLAYLIST-TYPE:VOD",
        "#EXT-X-INDEPENDENT-SEGMENTS",
        '#EXT-X-MAP:URI="hls-720.mp4",BYTERANGE="800@0"',
        "#EXTINF:4.000000,",
        "#EXT-X-BYTERANGE:1000@800",
        "hls-720.mp4",
        "#EXTINF:1.250000,",
        "#EXT-X-BYTERANGE:500@1800",
        "hls-720.mp4",
        "#EXT-X-ENDLIST",
    ]


def size(name: str, width: int, bits: int) -> Made:
    detail = {"bandwidth": bits, "average_bandwidth": bits - 1, "has_sound": True, "frame_rate": 29.97}
    return Made(name, "hls-playlist", f"{name}.m3u8", "x", width, width // 2, 5.0, "avc1.64001f", detail)


SOUND = Made(
    *("hls-audio", "hls-playlist", "hls-audio.m3u8", "x"),
    codecs="mp4a.40.2",
    detail={"bandwidth": 64_000, "average_bandwidth": 60_000, "channels": 2},
)


def test_master_playlist_lists_what_was_made_with_its_sound() -> None:
    lines = master_playlist([size("hls-720", 1280, 900_000), SOUND, size("hls-240", 426, 200_000)])
    assert lines is not None
    assert lines.splitlines()[3:] == [
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="sound",NAME="sound",DEFAULT=YES,AUTOSELECT=YES,CHANNELS="2",'
        'URI="hls-audio.m3u8"',
        "#EXT-X-STREAM-INF:BANDWIDTH=264000,AVERAGE-BANDWIDTH=259999,RESOLUTION=426x213,"
        'CODECS="avc1.64001f,mp4a.40.2",FRAME-RATE=29.970,AUDIO="sound"',
        "hls-240.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=964000,AVERAGE-BANDWIDTH=959999,RESOLUTION=1280x640,"
        'CODECS="avc1.64001f,mp4a.40.2",FRAME-RATE=29.970,AUDIO="sound"',
        "hls-720.m3u8",
    ]


def test_there_is_no_stream_that_has_lost_its_sound_or_all_its_sizes() -> None:
    assert master_playlist([size("hls-720", 1280, 900_000)]) is None
    assert master_playlist([SOUND]) is None


@given(st.floats(0.1, 7_200), st.integers(1, 100))
def test_storyboard_covers_the_video_evenly_within_its_number(seconds: float, most: int) -> None:
    times = storyboard_times(seconds, most)
    assert 1 <= len(times) <= max(1, min(most, seconds))
    assert times[0] == 0
    assert times[-1] < seconds


def test_storyboard_file_says_which_part_is_when() -> None:
    tile = scaled(VideoFacts("h264", 320, 180), 160)
    text = storyboard_vtt("storyboard.jpg", [0.2, 3_661.5, 3_662.0], 3_663.0, tile, 2)
    assert text.splitlines() == [
        *("WEBVTT", ""),
        *("00:00:00.000 --> 01:01:01.500", "storyboard.jpg#xywh=0,0,160,90", ""),
        *("01:01:01.500 --> 01:01:02.000", "storyboard.jpg#xywh=160,0,160,90", ""),
        *("01:01:02.000 --> 01:01:03.000", "storyboard.jpg#xywh=0,90,160,90"),
    ]
    assert storyboard_columns(60) == 8


@given(st.floats(0, 7_200))
def test_preview_is_of_pieces_that_do_not_overlap(seconds: float) -> None:
    places = preview_places(seconds, 3, 3)
    assert sum(length for _, length in places) == pytest.approx(3)
    for (start, length), (following, _) in pairwise(places):
        assert start + length <= following + 1e-6
    if len(places) > 1:
        assert places[-1][0] + places[-1][1] <= seconds


def test_more_pictures_than_the_time_allows_are_refused() -> None:
    limits = Limits(video_pixels=1, video_duration_seconds=10, image_pixels=1, streams=1)
    policy.check_pictures(2_400, limits)
    with pytest.raises(PermanentError, match="2,400 pictures"):
        policy.check_pictures(2_401, limits)


def test_larger_and_longer_video_is_estimated_to_cost_more() -> None:
    small, large = VideoFacts("h264", 640, 360, frame_rate=30), VideoFacts("h264", 1920, 1080, frame_rate=30)
    assert costs.frames(small, 10) == 300
    assert costs.frames(VideoFacts("h264", 2, 2), 10) == 300
    assert costs.encode_seconds(small, 300, 640, 360) < costs.encode_seconds(large, 300, 1920, 1080)
    assert costs.decode_seconds(small, 300) < costs.decode_seconds(large, 300)


@pytest.mark.parametrize("transfer", [tones.PQ, tones.HLG])
def test_table_of_tones_keeps_grey_grey_and_brighter_brighter(transfer: int) -> None:
    head, *rows = tones.cube(transfer).split("\n")[:-1]
    assert head == "LUT_3D_SIZE 33"
    assert len(rows) == 33**3
    greys = [[float(value) for value in row.split()] for row in rows[:: 33 * 33 + 33 + 1]]
    levels = [grey[1] for grey in greys]
    assert all(max(grey) - min(grey) < 0.002 for grey in greys)
    assert levels == sorted(levels)
    assert levels[0] == 0
    assert levels[-1] > 0.99
