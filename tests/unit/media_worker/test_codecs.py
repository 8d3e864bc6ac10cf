"""Codecs on generated files and on the real ones beside the repository."""

from pathlib import Path

import pytest
from PIL import Image

from kinstream.errors import PermanentError
from kinstream_devkit.generate.media import draw_scene, write_photo
from media_worker.codecs import images
from media_worker.domain import policy
from media_worker.domain.policy import HEAD_BYTES, Limits
from tests.support.media_samples import (
    needs_real_media,
    real_media,
    traces_of_place,
)

LIMITS = Limits(video_pixels=4096 * 2304, video_duration_seconds=7_200, image_pixels=100_000_000, streams=16)


def thumbnails(source: Path, folder: Path, limits: Limits = LIMITS) -> list[images.Thumbnail]:
    known = policy.check_format(policy.recognize(source.read_bytes()[:HEAD_BYTES]), "image")
    folder.mkdir(exist_ok=True)
    return images.write_thumbnails(source, known.name, folder, limits)


def is_upright(picture: Image.Image) -> bool:
    """Whether the sample scene looks more like itself as it is than turned or mirrored in any way."""
    wanted = draw_scene(*picture.size).resize((32, 32)).tobytes()

    def distance(turn: Image.Transpose | None) -> int:
        turned = picture if turn is None else picture.transpose(turn)
        got = turned.convert("RGB").resize((32, 32)).tobytes()
        return sum(abs(a - b) for a, b in zip(wanted, got, strict=True))

    return min([None, *Image.Transpose], key=distance) is None


def test_upright_check_itself_notices_a_turned_picture() -> None:
    scene = draw_scene(384, 288)
    assert is_upright(scene)
    assert not is_upright(scene.rotate(180))
    assert not is_upright(scene.transpose(Image.Transpose.FLIP_LEFT_RIGHT))


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
@pytest.mark.parametrize("original", real_media("image"), ids=lambda path: path.name)
def test_real_photo_is_converted(tmp_path: Path, original: Path) -> None:
    for one in thumbnails(original, tmp_path / "out"):
        assert traces_of_place(one.path.read_bytes()) == []
        with Image.open(one.path) as picture:
            assert picture.mode == "RGB"


@needs_real_media()
@pytest.mark.parametrize("original", real_media("hostile"), ids=lambda path: path.name)
def test_hostile_file_is_refused_as_a_photo_or_is_one(tmp_path: Path, original: Path) -> None:
    if original.name == "ex_image01551.jpg":  # only its EXIF is broken: the picture is good
        assert thumbnails(original, tmp_path / "out")[0].scale.width == 61
        return
    with pytest.raises(PermanentError):
        thumbnails(original, tmp_path / "out")
