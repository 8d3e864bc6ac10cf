"""What is made of recordings of every kind, as ffprobe, ffmpeg and exiftool see it."""

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest
from PIL import Image

from kinstream.errors import PermanentError
from kinstream_devkit.generate.media import write_phone_video
from media_worker.codecs import video
from media_worker.domain.options import RecordingOptions
from media_worker.domain.policy import Limits, Probe
from media_worker.domain.recordings import recording_recipe
from tests.support.ffmpeg import (
    complaints,
    frame_hashes,
    interlaced_pictures,
    loudness,
    picture,
    shown_seconds,
    silence_end,
    told,
    write_edited,
    write_interlaced,
)
from tests.support.media_samples import (
    needs_real_media,
    real_media,
    write_corrupt_video,
    write_cut_video,
    write_playlist_as_video,
    write_text_as_video,
)
from tests.support.media_tools import require_tools, telling_tags
from tests.support.recordings import LIMITS, Results, Sample, is_upright, make_all, write, write_amr_wb

AMR = {"audio": "libopencore_amrnb", "audio_rate": 8_000}
LARGE = {"crf": "1", "g": "1", "preset": "ultrafast"}
OPUS = {"audio": "libopus", "audio_rate": 48_000}

ENCODED = {
    "h263-amr.3gp": Sample("3gp", "h263", size=(176, 144), **AMR),
    "mpeg4-amr.3gp": Sample("3gp", "mpeg4", **AMR),
    "mpeg4-aac.3g2": Sample("3g2", "mpeg4"),
    "mpeg4-mp3.avi": Sample("avi", "mpeg4", "libmp3lame", options={"bf": "2"}),
    "mjpeg-pcm.avi": Sample("avi", "mjpeg", "pcm_s16le", pixel_format="yuvj420p"),
    "h264-mp3.avi": Sample("avi", "libx264", "libmp3lame"),
    "hevc-aac.mp4": Sample(
        "mp4", "libx265", options={"preset": "ultrafast", "x265-params": "log-level=none"}
    ),
    "hevc10-aac.mov": Sample(
        "mov",
        "libx265",
        pixel_format="yuv420p10le",
        options={"preset": "ultrafast", "x265-params": "log-level=none"},
    ),
    "h264-444.mkv": Sample("matroska", pixel_format="yuv444p"),
    "vp8-opus.webm": Sample("webm", "libvpx", options={"deadline": "realtime"}, **OPUS),
    "vp9-opus.webm": Sample("webm", "libvpx-vp9", options={"deadline": "realtime"}, **OPUS),
    "av1-opus.mkv": Sample("matroska", "libsvtav1", options={"preset": "12"}, **OPUS),
    "mpeg2-mp2.ts": Sample("mpegts", "mpeg2video", "mp2"),
    "surround.mov": Sample("mov", "mjpeg", "pcm_s16le", pixel_format="yuvj420p", channels=6),
    "odd.avi": Sample("avi", "mjpeg", None, size=(161, 121), pixel_format="yuvj444p"),
}
COPIED = {
    "h264-aac.mp4": Sample("mp4"),
    "h264-aac.mov": Sample("mov", channels=2),
    "h264-aac.mkv": Sample("matroska"),
    "h264-aac.ts": Sample("mpegts"),
    "silent.mp4": Sample("mp4", audio=None),
}


@pytest.fixture(autouse=True)
def _tools() -> None:
    require_tools()


def check_playable(results: Results, sample: Sample) -> None:
    """Right way up, plays to the end, holds nothing private; duration and streams as they should be."""
    path, made = results.path("video"), results.made["video"]
    found = told(path)
    assert complaints(path) == ""
    assert found["streams"]["video"]["codec_name"] == "h264"
    assert found["streams"]["video"]["pix_fmt"] == "yuv420p"
    assert ("audio" in found["streams"]) == (sample.audio is not None)
    assert float(found["format"]["duration"]) == pytest.approx(sample.seconds, abs=0.15)
    assert made.duration_seconds == pytest.approx(sample.seconds, abs=0.15)
    assert made.codecs.startswith("avc1.")
    assert made.codecs.endswith(",mp4a.40.2") == (sample.audio is not None)
    assert is_upright(picture(path, 0.2))
    check_private(results)
    raw = path.read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")
    with Image.open(results.path("poster")) as poster:
        assert is_upright(poster.convert("RGB"))


def check_private(results: Results) -> None:
    """Nothing tells a place, a device, a person or a date."""
    paths = [path for path in results.folder.iterdir() if path.suffix not in (".vtt", ".m3u8")]
    assert telling_tags(paths) == {}


@pytest.mark.parametrize("name", ENCODED)
def test_other_codecs_become_h264_and_aac(tmp_path: Path, name: str) -> None:
    sample = ENCODED[name]
    results = make_all(write(tmp_path / name, sample))
    check_playable(results, sample)
    shown = told(results.path("video"))["streams"]["video"]
    assert int(shown["nb_frames"]) == round(sample.seconds * 15)
    assert (shown["width"], shown["height"]) == tuple(side - side % 2 for side in sample.size)


@pytest.mark.parametrize("name", COPIED)
def test_h264_and_aac_are_passed_on_from_any_container(tmp_path: Path, name: str) -> None:
    sample = COPIED[name]
    source = write(tmp_path / name, sample)
    results = make_all(source)
    check_playable(results, sample)
    assert frame_hashes(results.path("video")) == frame_hashes(source)
    # The encoder tells of itself in a message beside the first picture, as cameras do with place and date.
    assert b"x264 - core" in source.read_bytes()
    assert b"x264 - core" not in results.path("video").read_bytes()


def copied(source: Path, found: Probe) -> bytes:
    """The MP4 whose streams are the source's, as far as `found` tells what these are."""
    target = source.with_suffix(".copied.mp4")
    given = video.Source(source, found, LIMITS, source.parent)
    video.convert(given, recording_recipe(found), target, lambda _: None)
    assert frame_hashes(target) == frame_hashes(source)
    raw = target.read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")
    return raw


def test_large_recording_is_written_once_with_room_for_its_index(tmp_path: Path) -> None:
    sample = Sample("matroska", audio=None, size=(1280, 720), options=LARGE)
    source = write(tmp_path / "large.mkv", sample)
    raw = copied(source, video.probe(source, "matroska", LIMITS))
    at = raw.index(b"free") - 4
    assert raw.index(b"moov") < at < raw.index(b"mdat")
    assert 8 < int.from_bytes(raw[at : at + 4], "big") < 0.01 * len(raw)


def test_index_that_needs_more_room_than_was_left_still_comes_first(tmp_path: Path) -> None:
    sample = Sample("matroska", size=(320, 240), seconds=8, audio_rate=48_000, options=LARGE)
    source = write(tmp_path / "longer.mkv", sample)
    found = video.probe(source, "matroska", LIMITS)
    raw = copied(source, replace(found, duration_seconds=0.1))
    at = raw.index(b"free") - 4
    assert int.from_bytes(raw[at : at + 4], "big") == 8


def test_shape_of_pixels_is_known_where_only_the_pictures_tell_it(tmp_path: Path) -> None:
    source = write(tmp_path / "wide.ts", Sample("mpegts", aspect=Fraction(12, 11)))
    found = video.probe(source, "mpegts", LIMITS)
    assert found.video
    assert found.video.pixel_aspect == (12, 11)


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
@pytest.mark.parametrize("form", ["3gp", "mp4"])
def test_turned_video_is_shown_right_way_up(tmp_path: Path, form: str, turned: int) -> None:
    sample = (
        Sample("3gp", "h263", size=(176, 144), aspect=Fraction(12, 11), turned=turned, **AMR)
        if form == "3gp"
        else Sample("mp4", turned=turned)
    )
    results = make_all(write(tmp_path / f"turned.{form}", sample))
    check_playable(results, sample)
    shown = picture(results.path("video"))
    wide = (192, 144) if form == "3gp" else (160, 120)
    width, height = wide[::-1] if turned % 180 else wide
    assert shown.width / shown.height == pytest.approx(width / height, rel=0.01)
    with Image.open(results.path("poster")) as poster:
        assert poster.size == (width, height)


def test_picture_times_of_variable_rate_are_kept(tmp_path: Path) -> None:
    times = (0, 1, 2, 3, 10, 11, 12, 29)
    for name, codec in (("h264.mp4", "libx264"), ("mpeg4.mkv", "mpeg4")):
        sample = Sample("mp4" if codec == "libx264" else "matroska", codec, None, times=times, seconds=2)
        made = make_all(write(tmp_path / name, sample)).path("video")
        assert shown_seconds(made) == pytest.approx([at / 15 for at in times], abs=0.002)


def test_sound_that_starts_late_stays_with_its_picture(tmp_path: Path) -> None:
    sample = Sample("matroska", "mpeg4", "libmp3lame", audio_from_seconds=0.5)
    path = make_all(write(tmp_path / "late.mkv", sample)).path("video")
    assert silence_end(path) == pytest.approx(0.5, abs=0.06)


def test_pictures_and_sound_of_avi_start_together(tmp_path: Path) -> None:
    path = make_all(write(tmp_path / "b.avi", ENCODED["h264-mp3.avi"])).path("video")
    assert shown_seconds(path)[0] == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("name", ["h264-aac.mkv", "h264-aac.ts", "mpeg4-mp3.avi", "fast.mp4"])
def test_recording_that_breaks_off_keeps_what_plays(tmp_path: Path, name: str) -> None:
    known = ENCODED | COPIED | {"fast.mp4": Sample("mp4", muxer={"movflags": "faststart"})}
    source = write(tmp_path / name, known[name])
    raw = source.read_bytes()
    source.write_bytes(raw[: len(raw) * 7 // 10])
    results = make_all(source)
    assert complaints(results.path("video")) == ""
    assert 0.3 < results.made["video"].duration_seconds < 0.95
    assert is_upright(picture(results.path("video")))


def test_clock_that_starts_anew_leaves_no_hole(tmp_path: Path) -> None:
    source = write(tmp_path / "once.ts", COPIED["h264-aac.ts"])
    twice = tmp_path / "twice.ts"
    twice.write_bytes(source.read_bytes() * 2)
    results = make_all(twice)
    assert complaints(results.path("video")) == ""
    assert results.made["video"].duration_seconds == pytest.approx(2, abs=0.2)


def test_recording_of_a_browser_that_tells_no_duration_is_counted(tmp_path: Path) -> None:
    sample = Sample("matroska", "libvpx", options={"deadline": "realtime"}, muxer={"live": "1"}, **OPUS)
    results = make_all(write(tmp_path / "live.webm", sample), RecordingOptions(hls_from_seconds=0.5))
    check_playable(results, sample)
    assert complaints(results.path("hls")) == ""


def test_interlaced_pictures_become_whole_ones(tmp_path: Path) -> None:
    source = tmp_path / "camcorder.ts"
    write_interlaced(source)
    results = make_all(source)
    assert interlaced_pictures(source) == 25
    assert interlaced_pictures(results.path("video")) == 0
    assert len(shown_seconds(results.path("video"))) == 25
    assert complaints(results.path("video")) == ""


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_only_what_an_edit_has_left_is_shown(tmp_path: Path, codec: str) -> None:
    whole, cut = write(tmp_path / "whole.mp4", Sample("mp4", codec, seconds=3)), tmp_path / "cut.mp4"
    write_edited(whole, cut, 1.4)
    results = make_all(cut, RecordingOptions(hls_from_seconds=1))
    for name in ("video", "hls-120"):
        assert complaints(results.path(name)) == ""
        assert float(told(results.path(name))["format"]["duration"]) == pytest.approx(1.6, abs=0.1)
        assert len(frame_hashes(results.path(name))) == pytest.approx(24, abs=1)


def test_damaged_video_keeps_what_plays(tmp_path: Path) -> None:
    source = tmp_path / "corrupt.3gp"
    write_corrupt_video(source)
    results = make_all(source)
    assert results.made["video"].duration_seconds == pytest.approx(3, abs=0.5)
    assert complaints(results.path("video")) == ""


def test_large_video_is_scaled_down_and_small_video_never_up(tmp_path: Path) -> None:
    source = write(tmp_path / "wide.mp4", Sample("mp4", audio=None, size=(320, 160), seconds=0.5))
    results = make_all(source, RecordingOptions(longest_side=240, shortest_side=200))
    assert picture(results.path("video")).size == (240, 120)


def test_hdr_video_is_brought_to_usual_screens(tmp_path: Path) -> None:
    sample = Sample(
        "mov",
        "libx265",
        None,
        seconds=0.2,
        pixel_format="yuv420p10le",
        colors=(9, 9, 18),
        options={"preset": "ultrafast", "x265-params": "log-level=none"},
    )
    results = make_all(write(tmp_path / "hlg.mov", sample))
    shown = told(results.path("video"))["streams"]["video"]
    assert [shown[key] for key in ("color_space", "color_transfer", "color_primaries", "color_range")] == [
        *("bt709", "bt709", "bt709"),
        "tv",
    ]
    assert complaints(results.path("video")) == ""


@pytest.mark.parametrize(
    ("name", "sample"),
    [
        ("speech.amr", Sample("amr", None, **AMR)),
        ("music.mp3", Sample("mp3", None, "libmp3lame")),
        ("voice.ogg", Sample("ogg", None, **OPUS)),
        ("lossless.flac", Sample("flac", None, "flac", channels=2)),
        ("plain.wav", Sample("wav", None, "pcm_s16le", audio_rate=96_000)),
        ("raw.aac", Sample("adts", None)),
        ("phone.m4a", Sample("ipod", None)),
        ("sound.mkv", Sample("matroska", None, **OPUS)),
    ],
)
def test_sound_alone_becomes_m4a(tmp_path: Path, name: str, sample: Sample) -> None:
    results = make_all(write(tmp_path / name, sample), kind="audio")
    check_sound(results, list(results.made), 1.0)


def test_wideband_speech_becomes_m4a(tmp_path: Path) -> None:
    results = make_all(write_amr_wb(tmp_path / "wide.amr"), kind="audio")
    check_sound(results, list(results.made), 1.0)


def check_sound(results: Results, names: list[str], seconds: float) -> None:
    assert names == ["audio"]
    found = told(results.path("audio"))
    assert found["streams"]["audio"]["codec_name"] == "aac"
    assert found["count"] == 1
    assert float(found["format"]["duration"]) == pytest.approx(seconds, abs=0.15)
    assert complaints(results.path("audio")) == ""
    check_private(results)
    assert results.made["audio"].codecs == "mp4a.40.2"


def test_loudness_is_brought_to_what_was_asked_for(tmp_path: Path) -> None:
    source = write(tmp_path / "quiet.mp3", Sample("mp3", None, "libmp3lame", seconds=4))
    results = make_all(source, RecordingOptions(loudness_lufs=-16), kind="audio")
    assert loudness(source) < -22
    assert loudness(results.path("audio")) == pytest.approx(-16, abs=1.5)


@pytest.mark.parametrize("write_bad", [write_cut_video, write_text_as_video])
def test_what_cannot_be_played_fails_with_a_reason(tmp_path: Path, write_bad: Callable[[Path], None]) -> None:
    source = tmp_path / "bad.3gp"
    write_bad(source)
    with pytest.raises(PermanentError):
        make_all(source)


def test_playlist_under_a_videos_name_opens_nothing(tmp_path: Path) -> None:
    secret, source = tmp_path / "secret.3gp", tmp_path / "list.3gp"
    write_phone_video(secret, seconds=1)
    write_playlist_as_video(source, secret)
    with pytest.raises(PermanentError, match="no media file"):
        make_all(source)
    # Not even past the first check: the demuxer is named, never guessed.
    with pytest.raises(PermanentError, match="cannot be opened"):
        video.probe(source, "mov", LIMITS)


def test_codec_that_no_phone_writes_is_not_decoded(tmp_path: Path) -> None:
    source = write(tmp_path / "odd.mkv", Sample("matroska", "ffv1", None))
    with pytest.raises(PermanentError):
        make_all(source)


def test_video_larger_than_allowed_is_not_decoded(tmp_path: Path) -> None:
    source = tmp_path / "clip.3gp"
    write_phone_video(source, seconds=1)
    small = Limits(video_pixels=1000, video_duration_seconds=60, image_pixels=1000, streams=4)
    with pytest.raises(PermanentError, match="more than 1,000 pixels"):
        make_all(source, limits=small)


@needs_real_media()
@pytest.mark.parametrize("original", real_media("video"), ids=lambda path: path.name)
def test_real_recording_comes_out_right(tmp_path: Path, original: Path) -> None:
    source = tmp_path / original.name
    source.write_bytes(original.read_bytes())
    results = make_all(source, RecordingOptions(hls_from_seconds=1))
    check_private(results)
    main = "video" if "video" in results.made else "audio"
    assert complaints(results.path(main)) == ""
    assert results.made[main].duration_seconds == pytest.approx(
        float(told(original)["format"]["duration"]), abs=1.2
    )


@needs_real_media()
@pytest.mark.parametrize("original", real_media("hostile"), ids=lambda path: path.name)
def test_hostile_file_is_refused_as_a_video(tmp_path: Path, original: Path) -> None:
    source = tmp_path / original.name
    source.write_bytes(original.read_bytes())
    with pytest.raises(PermanentError):
        make_all(source)
