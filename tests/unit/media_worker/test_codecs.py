"""Codecs on generated files and on the real ones beside the repository."""

from pathlib import Path

import av
import pytest
from PIL import Image

from kinstream.errors import PermanentError
from kinstream_devkit.generate.media import draw_scene, write_phone_video, write_photo
from media_worker.codecs import images, video
from media_worker.domain import policy
from media_worker.domain.policy import HEAD_BYTES, Limits
from media_worker.domain.recordings import recording_recipe
from tests.support.media_samples import (
    needs_real_media,
    real_media,
    traces_of_place,
    write_corrupt_video,
    write_cut_video,
    write_h264,
    write_playlist_as_video,
    write_text_as_video,
)

LIMITS = Limits(video_pixels=4096 * 2304, video_duration_seconds=7_200, image_pixels=100_000_000, streams=16)


def convert(source: Path, limits: Limits = LIMITS) -> tuple[Path, Path | None, float]:
    """Everything that is made of a recording: its MP4 or M4A, its poster, its duration."""
    known = policy.check_format(policy.recognize(source.read_bytes()[:HEAD_BYTES]), "video")
    found = video.probe(source, known.name, limits)
    recipe = recording_recipe(found)
    target, poster = source.with_name("made.mp4"), source.with_name("poster.jpg")
    seconds = video.convert(source, found, recipe, target, limits=limits, progress=lambda _: None)
    if recipe.poster:
        video.write_poster(source, found, recipe.poster, poster, limits)
    return target, poster if recipe.poster else None, seconds


def thumbnails(source: Path, folder: Path, limits: Limits = LIMITS) -> list[images.Thumbnail]:
    known = policy.check_format(policy.recognize(source.read_bytes()[:HEAD_BYTES]), "image")
    folder.mkdir(exist_ok=True)
    return images.write_thumbnails(source, known.name, folder, limits)


def shown(path: Path) -> Image.Image:
    """The tenth picture as a player shows it, with square pixels."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        aspect = float(stream.sample_aspect_ratio or 1)
        frames = [frame for _, frame in zip(range(10), container.decode(stream), strict=False)]
        picture = frames[-1].to_image().rotate(frames[-1].rotation, expand=True)
    return picture.resize((round(picture.width * aspect), picture.height))


def is_upright(picture: Image.Image) -> bool:
    """Whether the sample scene looks more like itself as it is than turned or mirrored in any way."""
    wanted = draw_scene(*picture.size).resize((32, 32)).tobytes()

    def distance(turn: Image.Transpose | None) -> int:
        turned = picture if turn is None else picture.transpose(turn)
        got = turned.convert("RGB").resize((32, 32)).tobytes()
        return sum(abs(a - b) for a, b in zip(wanted, got, strict=True))

    return min([None, *Image.Transpose], key=distance) is None


@pytest.mark.parametrize("turned", [0, 90, 180, 270])
def test_phone_video_comes_out_right_way_up_without_a_place(tmp_path: Path, turned: int) -> None:
    source = tmp_path / "clip.3gp"
    write_phone_video(source, seconds=2, turned=turned)
    assert traces_of_place(source.read_bytes()) != []

    made, poster, seconds = convert(source)

    assert seconds == pytest.approx(2, abs=0.2)
    assert is_upright(shown(made))
    with Image.open(poster) as picture:
        assert picture.size == ((288, 384) if turned % 180 else (384, 288))
        assert is_upright(picture)
    for path in (made, poster):
        assert traces_of_place(path.read_bytes()) == []
    with av.open(str(made)) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264", "aac"]
        assert container.streams.video[0].frames == 30
    raw = made.read_bytes()
    assert raw.index(b"moov") < raw.index(b"mdat")


def test_upright_check_itself_notices_a_turned_picture() -> None:
    scene = draw_scene(384, 288)
    assert is_upright(scene)
    assert not is_upright(scene.rotate(180))
    assert not is_upright(scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


@pytest.mark.parametrize("turned", [0, 90])
def test_h264_is_copied_bit_by_bit_with_its_turn(tmp_path: Path, turned: int) -> None:
    source = tmp_path / "new.mp4"
    write_h264(source, turned=turned)

    def packets(path: Path) -> tuple[list[bytes], int]:
        with av.open(str(path)) as container:
            turn = next(container.decode(video=0)).rotation
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size], turn

    made, _, _ = convert(source)
    assert packets(made) == packets(source)
    assert traces_of_place(made.read_bytes()) == []


def test_odd_sizes_become_even(tmp_path: Path) -> None:
    source = tmp_path / "odd.avi"
    with av.open(str(source), "w", format="avi") as container:
        stream = container.add_stream("mjpeg", rate=15)
        stream.width, stream.height, stream.pix_fmt = 201, 151, "yuvj420p"
        for number in range(10):
            frame = av.VideoFrame.from_image(draw_scene(201, 151)).reformat(format="yuvj420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    made, _, _ = convert(source)
    assert shown(made).size == (200, 150)


def test_damaged_video_keeps_what_plays(tmp_path: Path) -> None:
    source = tmp_path / "corrupt.3gp"
    write_corrupt_video(source)
    made, _, seconds = convert(source)
    assert seconds == pytest.approx(3, abs=0.5)
    assert shown(made).size == (384, 288)


@pytest.mark.parametrize("write", [write_cut_video, write_text_as_video])
def test_what_cannot_be_played_fails_with_a_reason(tmp_path: Path, write) -> None:
    source = tmp_path / "bad.3gp"
    write(source)
    with pytest.raises(PermanentError):
        convert(source)


def test_playlist_under_a_videos_name_opens_nothing(tmp_path: Path) -> None:
    secret, source = tmp_path / "secret.3gp", tmp_path / "list.3gp"
    write_phone_video(secret, seconds=1)
    write_playlist_as_video(source, secret)
    with pytest.raises(PermanentError, match="no media file"):
        convert(source)
    # Not even past the first check: the demuxer is named, never guessed.
    with pytest.raises(PermanentError, match="cannot be opened"):
        video.probe(source, "mov", LIMITS)


def test_video_larger_than_allowed_is_not_decoded(tmp_path: Path) -> None:
    source = tmp_path / "clip.3gp"
    write_phone_video(source, seconds=1)
    small = Limits(video_pixels=1000, video_duration_seconds=60, image_pixels=1000, streams=4)
    with pytest.raises(PermanentError, match="more than 1,000 pixels"):
        convert(source, small)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photo_comes_out_upright_in_three_sizes_without_exif(tmp_path: Path, orientation: int) -> None:
    source = tmp_path / "photo.jpg"
    write_photo(source, 1200, 1600, orientation)
    assert traces_of_place(source.read_bytes()) != []

    made = thumbnails(source, tmp_path / "out")

    assert [(one.scale.width, one.scale.height) for one in made] == [(960, 1280), (480, 640), (192, 256)]
    for one in made:
        assert traces_of_place(one.path.read_bytes()) == []
        with Image.open(one.path) as picture:
            assert picture.size == (one.scale.width, one.scale.height)
            assert dict(picture.getexif()) == {}
            assert is_upright(picture)


def test_transparent_and_palette_images_get_a_white_ground(tmp_path: Path) -> None:
    for mode in ("RGBA", "LA", "P"):
        source = tmp_path / f"{mode}.png"
        Image.new("RGBA", (40, 30), (0, 0, 0, 0)).convert(mode).save(
            source, transparency=0 if mode == "P" else None
        )
        made = thumbnails(source, tmp_path / mode)
        with Image.open(made[0].path) as picture:
            assert picture.getpixel((5, 5))[0] > 250


def test_image_with_too_many_pixels_is_not_decoded(tmp_path: Path) -> None:
    source = tmp_path / "large.png"
    Image.new("1", (1000, 1000)).save(source)
    small = Limits(video_pixels=1000, video_duration_seconds=60, image_pixels=999_999, streams=4)
    with pytest.raises(PermanentError, match="1000 x 1000"):
        thumbnails(source, tmp_path / "out", small)


def test_cut_photo_fails_with_a_reason(tmp_path: Path) -> None:
    source = tmp_path / "cut.jpg"
    write_photo(source, 600, 400, 1)
    source.write_bytes(source.read_bytes()[:5_000])
    with pytest.raises(PermanentError, match="broken or cut off"):
        thumbnails(source, tmp_path / "out")


@needs_real_media()
@pytest.mark.parametrize("original", real_media("video"), ids=lambda path: path.name)
def test_real_recording_is_converted(tmp_path: Path, original: Path) -> None:
    source = tmp_path / original.name
    source.write_bytes(original.read_bytes())
    made, poster, seconds = convert(source)
    assert seconds > 0.1
    for path in filter(None, (made, poster)):
        assert traces_of_place(path.read_bytes()) == []


@needs_real_media()
@pytest.mark.parametrize("original", real_media("image"), ids=lambda path: path.name)
def test_real_photo_is_converted(tmp_path: Path, original: Path) -> None:
    for one in thumbnails(original, tmp_path / "out"):
        assert traces_of_place(one.path.read_bytes()) == []
        with Image.open(one.path) as picture:
            assert picture.mode == "RGB"


@needs_real_media()
@pytest.mark.parametrize("original", real_media("hostile"), ids=lambda path: path.name)
def test_hostile_file_is_refused_as_a_video(tmp_path: Path, original: Path) -> None:
    source = tmp_path / original.name
    source.write_bytes(original.read_bytes())
    with pytest.raises(PermanentError):
        convert(source)


@needs_real_media()
@pytest.mark.parametrize("original", real_media("hostile"), ids=lambda path: path.name)
def test_hostile_file_is_refused_as_a_photo_or_is_one(tmp_path: Path, original: Path) -> None:
    if original.name == "ex_image01551.jpg":  # only its EXIF is broken: the picture is good
        assert thumbnails(original, tmp_path / "out")[0].scale.width == 61
        return
    with pytest.raises(PermanentError):
        thumbnails(original, tmp_path / "out")
