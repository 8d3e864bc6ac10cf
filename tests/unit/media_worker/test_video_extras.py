"""Streams, storyboards and previews of video, as ffprobe and ffmpeg see them."""

import re
from base64 import b64decode
from pathlib import Path

import pytest
from PIL import Image

from media_worker.domain.options import RecordingOptions
from media_worker.domain.thumbhash import thumbhash
from tests.support.ffmpeg import complaints, keyframe_seconds, picture, shown_seconds, told
from tests.support.media_tools import require_tools, telling_tags
from tests.support.recordings import Results, Sample, is_upright, make_all, write

OPTIONS = RecordingOptions(
    hls_from_seconds=1,
    hls_segment_seconds=1,
    hls_rungs=((144, 300_000), (96, 100_000)),
    storyboard_from_seconds=1,
    storyboard_tiles=4,
)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """All that is made of six seconds that were recorded upright, with few pictures to start from."""
    require_tools()
    folder = tmp_path_factory.mktemp("extras")
    sample = Sample("mp4", size=(192, 144), seconds=6, turned=90, options={"g": "40"})
    return make_all(write(folder / "clip.mp4", sample), OPTIONS)


def test_every_size_and_the_sound_are_a_playlist_and_one_file(clip: Results) -> None:
    assert [name for name in clip.made if name.startswith("hls")] == [
        *("hls-144", "hls-144-media", "hls-96", "hls-96-media", "hls-audio", "hls-audio-media", "hls")
    ]
    assert telling_tags([path for path in clip.folder.iterdir() if path.suffix in (".mp4", ".jpg")]) == {}


def test_stream_plays_to_its_end_in_each_size_with_its_sound(clip: Results) -> None:
    assert complaints(clip.path("hls")) == ""
    for name, size in (("hls-144", (144, 192)), ("hls-96", (96, 128))):
        found = told(clip.path(name))
        assert complaints(clip.path(name)) == ""
        assert float(found["format"]["duration"]) == pytest.approx(6, abs=0.1)
        assert picture(clip.path(name)).size == size
        assert is_upright(picture(clip.path(name)))
        assert len(shown_seconds(clip.path(name))) == 90
    sound = told(clip.path("hls-audio"))
    assert sound["streams"]["audio"]["codec_name"] == "aac"
    assert float(sound["format"]["duration"]) == pytest.approx(6, abs=0.15)


def test_a_player_can_change_the_size_at_each_segment(clip: Results) -> None:
    first, second = (keyframe_seconds(clip.path(name)) for name in ("hls-144", "hls-96"))
    assert first == second == pytest.approx([0, 1, 2, 3, 4, 5], abs=0.001)
    for name in ("hls-144", "hls-96"):
        lengths = re.findall(r"#EXTINF:([0-9.]+)", clip.path(name).read_text())
        assert [float(length) for length in lengths] == pytest.approx([1] * 6, abs=0.01)


def test_byte_ranges_cover_the_file_without_a_hole(clip: Results) -> None:
    for name in ("hls-144", "hls-audio"):
        text = clip.path(name).read_text()
        ranges = [(int(size), int(start)) for size, start in re.findall(r"(\d+)@(\d+)", text)]
        reached = 0
        for size, start in ranges:
            assert start == reached
            reached += size
        # What follows the last one is no more than an index.
        assert 0 <= clip.path(f"{name}-media").stat().st_size - reached < 200


def test_master_playlist_tells_the_bandwidth_of_the_files(clip: Results) -> None:
    text = clip.path("hls").read_text()
    seconds = 6
    sound_bits = clip.path("hls-audio-media").stat().st_size * 8 / seconds
    for name in ("hls-144", "hls-96"):
        line = text[: text.index(f"\n{name}.m3u8")].rsplit("\n", 1)[1]
        average = int(re.search(r"AVERAGE-BANDWIDTH=(\d+)", line)[1])
        peak = int(re.search(r":BANDWIDTH=(\d+)", line)[1])
        bits = clip.path(f"{name}-media").stat().st_size * 8 / seconds + sound_bits
        assert average == pytest.approx(bits, rel=0.1)
        assert average <= peak < 4 * average
        codec = clip.made[name].codecs
        assert f'CODECS="{codec},mp4a.40.2"' in line
        assert "FRAME-RATE=15.000" in line
    assert re.findall(r"RESOLUTION=(\S+?),", text) == ["96x128", "144x192"]


def test_storyboard_shows_what_is_seen_at_its_times(clip: Results) -> None:
    cues = re.findall(
        r"(\S+) --> (\S+)\nstoryboard.jpg#xywh=(\d+),(\d+),(\d+),(\d+)", clip.path("storyboard").read_text()
    )
    assert len(cues) == 2, "a picture for each one that can be decoded by itself"
    assert cues[0][0] == "00:00:00.000"
    assert cues[-1][1].startswith("00:00:06.0")
    assert [end for _, end, *_ in cues[:-1]] == [start for start, *_ in cues[1:]]
    with Image.open(clip.path("storyboard-sprite")) as sheet:
        sprite = clip.made["storyboard-sprite"]
        assert sheet.size == (sprite.width, sprite.height)
        for _, _, *place in cues:
            x, y, width, height = map(int, place)
            assert (width, height) == (120, 160)
            assert is_upright(sheet.convert("RGB").crop((x, y, x + width, y + height)))


def test_preview_is_short_small_and_silent(clip: Results) -> None:
    found = told(clip.path("preview"))
    assert list(found["streams"]) == ["video"]
    assert complaints(clip.path("preview")) == ""
    assert float(found["format"]["duration"]) == pytest.approx(3, abs=0.15)
    assert len(shown_seconds(clip.path("preview"))) == pytest.approx(45, abs=2)
    assert clip.path("preview").stat().st_size < 100_000
    assert is_upright(picture(clip.path("preview"), 2.5))


def test_short_clip_has_a_preview_of_its_own_length_and_nothing_to_search_in(tmp_path: Path) -> None:
    require_tools()
    results = make_all(write(tmp_path / "short.mp4", Sample("mp4", audio=None)))
    assert list(results.made) == ["video", "poster", "preview"]
    assert float(told(results.path("preview"))["format"]["duration"]) == pytest.approx(1, abs=0.1)


def test_poster_tells_its_colours_before_it_is_there(clip: Results) -> None:
    hashed = b64decode(clip.made["poster"].detail["thumbhash"])
    with Image.open(clip.path("poster")) as poster:
        small = poster.convert("RGBA").resize((24, 32), Image.Resampling.BOX)
    again = thumbhash(*small.size, small.tobytes())
    assert hashed[:2] == again[:2], "its mean brightness and colours"
