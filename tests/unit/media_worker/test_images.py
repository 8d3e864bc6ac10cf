"""Photos of every kind that phones and browsers write, read by the codec and compared by Pillow."""

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from PIL import Image, ImageCms, ImageDraw

from kinstream.errors import PermanentError
from kinstream_devkit.generate.media import draw_scene, write_photo
from media_worker.codecs import images
from media_worker.codecs.images import Picture
from media_worker.domain import policy
from media_worker.domain.geometry import fit
from media_worker.domain.policy import HEAD_BYTES, Limits
from tests.support.media_samples import needs_real_media, real_media
from tests.support.recordings import is_upright

LIMITS = Limits(video_pixels=4096 * 2304, video_duration_seconds=7_200, image_pixels=100_000_000, streams=16)
SIZE = 600, 450
MOST_MEMORY_MB = 900

Write = Callable[[Path, Image.Image], object]


def opened(path: Path, limits: Limits = LIMITS) -> images.Original:
    known = policy.check_format(policy.recognize(path.read_bytes()[:HEAD_BYTES]), "image")
    return images.opened(path, known.name, limits)


def read(path: Path, side: int = 300) -> Picture:
    original = opened(path)
    return original.read(*fit(original.width, original.height, side))


def shown(picture: Picture) -> Image.Image:
    mode = "RGB" if picture.bands == 3 else "RGBA"
    return Image.frombytes(mode, (picture.width, picture.height), bytes(picture.pixels))


def distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of two pictures of one shape, from 0 to 255."""
    a, b = (np.asarray(picture.convert("RGB").resize((64, 48)), dtype=float) for picture in (one, other))
    return float(np.abs(a - b).mean())


def write_heif(path: Path, scene: Image.Image, **options: object) -> None:
    pillow_heif.from_pillow(scene).save(path, quality=90, **options)


def write_heif_of_tiles(path: Path, scene: Image.Image, **options: object) -> None:
    """As phones do: a grid of pictures, those at its edges larger than what is shown of them."""
    write_heif(path, scene, tile_size=256, **options)
    assert path.read_bytes().count(b"hvc1\0") == 6


def write_heif_of_10_bits(path: Path, scene: Image.Image) -> None:
    deep = (np.asarray(scene, dtype=np.uint16) << 8).tobytes()
    pillow_heif.from_bytes("RGB;16", scene.size, deep).save(path, quality=90)


def write_deep_png(path: Path, scene: Image.Image) -> None:
    Image.fromarray(np.asarray(scene.convert("L"), dtype=np.uint16) * 257).save(path)


KINDS: dict[str, Write] = {
    "baseline.jpg": lambda path, scene: scene.save(path, quality=90),
    "progressive.jpg": lambda path, scene: scene.save(path, quality=90, progressive=True),
    "444.jpg": lambda path, scene: scene.save(path, quality=90, subsampling=0),
    "422.jpg": lambda path, scene: scene.save(path, quality=90, subsampling=1),
    "rgb.png": lambda path, scene: scene.save(path),
    "palette.png": lambda path, scene: scene.quantize(256).save(path),
    "lossy.webp": lambda path, scene: scene.save(path, quality=90),
    "lossless.webp": lambda path, scene: scene.save(path, lossless=True),
    "moving.webp": lambda path, scene: scene.save(
        path, save_all=True, append_images=[Image.new("RGB", SIZE)], quality=90
    ),
    "moving.gif": lambda path, scene: scene.save(path, save_all=True, append_images=[Image.new("RGB", SIZE)]),
    "8.avif": lambda path, scene: scene.save(path, quality=90, speed=10),
    "8.heic": write_heif,
    "10.heic": write_heif_of_10_bits,
    "tiled.heic": write_heif_of_tiles,
}
GRAY: dict[str, Write] = {
    "gray.jpg": lambda path, scene: scene.convert("L").save(path, quality=90),
    "gray.png": lambda path, scene: scene.convert("L").save(path),
    "deep.png": write_deep_png,
}


@pytest.mark.parametrize("name", [*KINDS, *GRAY])
def test_photo_of_each_kind_keeps_its_picture(tmp_path: Path, name: str) -> None:
    scene, path = draw_scene(*SIZE), tmp_path / name
    (KINDS | GRAY)[name](path, scene)
    wanted = scene.convert("L") if name in GRAY else scene
    for side in (300, 60):
        picture = read(path, side)
        assert (max(picture.width, picture.height), picture.bands) == (side, 3)
        assert distance(shown(picture), wanted) < 6


def test_colours_of_half_the_height_only_are_read(tmp_path: Path) -> None:
    # Pillow writes no 4:4:0, but 4:2:2 of one block's width has the same blocks in the same order.
    narrow = io.BytesIO()
    light = Image.linear_gradient("L").resize((1, 128))
    blocks = [light.crop((0, top, 1, top + 8)).resize((8, 8)) for top in range(0, 128, 8)]
    pairs = Image.new("L", (16, 64))
    for number, block in enumerate(blocks):
        pairs.paste(block, (number % 2 * 8, number // 2 * 8))
    Image.merge("YCbCr", [pairs, *(Image.new("L", pairs.size, tint) for tint in (100, 160))]).save(
        narrow, "JPEG", quality=95, subsampling=1
    )
    raw = bytearray(narrow.getvalue())
    frame = raw.index(b"\xff\xc0")
    assert raw[frame + 5 : frame + 12] == bytes([0, 64, 0, 16, 3, 1, 0x21])
    raw[frame + 5 : frame + 12] = bytes([0, 128, 0, 8, 3, 1, 0x12])
    (tmp_path / "440.jpg").write_bytes(raw)
    wanted = Image.merge(
        "YCbCr", [light.resize((8, 128)), *(Image.new("L", (8, 128), t) for t in (100, 160))]
    )
    assert distance(shown(read(tmp_path / "440.jpg", 128)), wanted) < 6


def test_inks_become_light_and_are_not_inverted(tmp_path: Path) -> None:
    # Pillow writes CMYK as Adobe does: inverted, with a marker that says so.
    for inks, about in {
        (0, 0, 0, 0): (255, 255, 255),
        (0, 0, 0, 255): (35, 31, 32),
        (0, 255, 255, 0): (237, 28, 36),
    }.items():
        Image.new("CMYK", (64, 64), inks).save(tmp_path / "inks.jpg", quality=95)
        assert shown(read(tmp_path / "inks.jpg")).getpixel((9, 9)) == pytest.approx(about, abs=30)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_of_each_orientation_comes_out_upright(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "photo.jpg"
    write_photo(path, 450, 600, orientation)
    picture = shown(read(path))
    assert picture.size == (225, 300)
    assert is_upright(picture)


@pytest.mark.parametrize("ending", ["png", "webp", "avif", "heic", "tiled.heic"])
def test_orientation_holds_in_every_format_and_is_applied_once(tmp_path: Path, ending: str) -> None:
    path, exif = tmp_path / f"photo.{ending}", Image.Exif()
    exif[0x0112] = 6
    stored = draw_scene(450, 600).transpose(Image.Transpose.ROTATE_90)
    if ending.endswith("heic"):
        write = write_heif if ending == "heic" else write_heif_of_tiles
        write(path, stored, exif=exif.tobytes())
    else:
        stored.save(path, exif=exif)
    picture = shown(read(path))
    assert picture.size == (225, 300)
    assert is_upright(picture)


@pytest.mark.parametrize("write", [write_heif, write_heif_of_tiles])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_heic_that_is_cut_off_is_refused_and_not_shown_in_part(
    tmp_path: Path, write: Write, share: float
) -> None:
    path = tmp_path / "photo.heic"
    write(path, draw_scene(*SIZE))
    path.write_bytes(path.read_bytes()[: round(path.stat().st_size * share)])
    with pytest.raises(PermanentError, match="broken or cut off"):
        read(path)


def test_heic_is_read_whatever_a_phone_appends_to_it(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    write_heif_of_tiles(path, draw_scene(*SIZE))
    whole = path.read_bytes()
    for appended in (b"\0\0\0\x0ampvd..", b"SEFH\x6b\0\0\0", b"\0\0\0\0\0\0", b"\xff\xff\xff\xffnone"):
        path.write_bytes(whole + appended)
        assert distance(shown(read(path)), draw_scene(*SIZE)) < 6


def test_colours_of_a_wider_space_are_shown_as_they_were_meant(tmp_path: Path) -> None:
    # A made-up space whose red and green are swapped: nobody who leaves the profile out gets this right.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    at = {tag: profile.index(tag) for tag in (b"rXYZ", b"gXYZ")}
    profile[at[b"rXYZ"] : at[b"rXYZ"] + 4], profile[at[b"gXYZ"] : at[b"gXYZ"] + 4] = b"gXYZ", b"rXYZ"
    for ending, options in {
        "jpg": {"quality": 95, "subsampling": 0},
        "png": {},
        "webp": {"quality": 95},
    }.items():
        path = tmp_path / f"wide.{ending}"
        Image.new("RGB", (80, 60), (40, 200, 20)).save(path, icc_profile=bytes(profile), **options)
        red, green, blue = shown(read(path)).getpixel((30, 30))
        assert (red, green, blue) == pytest.approx((200, 40, 20), abs=8)


def test_broken_profile_is_as_good_as_none(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    draw_scene(*SIZE).save(path, quality=90, icc_profile=b"no profile" * 20)
    assert distance(shown(read(path)), draw_scene(*SIZE)) < 6


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_clear_pixels_stay_clear_and_have_a_white_ground_as_jpeg(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "clear.png"
    image = Image.new("RGBA", (80, 60), (0, 0, 0, 0)).convert(mode)
    image.save(path, transparency=0 if mode == "P" else None)
    picture = read(path, 40)
    assert shown(picture).getpixel((5, 5))[3] == 0
    picture.save(tmp_path / "made.jpg", "jpeg", 80)
    with Image.open(tmp_path / "made.jpg") as made:
        assert min(made.getpixel((5, 5))) > 250


def test_clear_pixels_do_not_darken_their_neighbours(tmp_path: Path) -> None:
    path = tmp_path / "edge.png"
    image = Image.new("RGBA", (400, 400), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((0, 0, 199, 399), fill=(250, 60, 60, 255))
    image.save(path)
    pixels = np.asarray(shown(read(path, 90)))
    assert pixels[..., 0][pixels[..., 3] > 20].min() > 230


def test_alpha_that_hides_nothing_is_dropped(tmp_path: Path) -> None:
    draw_scene(*SIZE).convert("RGBA").save(tmp_path / "photo.png")
    assert read(tmp_path / "photo.png").bands == 3


@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_photo_cut_off_near_its_end_keeps_what_there_is(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"cut.{ending}"
    grainy = Image.blend(draw_scene(*SIZE), Image.effect_noise(SIZE, 60).convert("RGB"), 0.3)
    grainy.save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 7 // 10])
    picture = shown(read(path))
    top = (0, 0, 300, 110)
    assert distance(picture.crop(top), grainy.resize((300, 225)).crop(top)) < 8


@pytest.mark.parametrize("name", [*KINDS, *GRAY])
def test_photo_of_which_most_is_missing_fails_with_a_reason(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    grainy = Image.blend(draw_scene(*SIZE), Image.effect_noise(SIZE, 60).convert("RGB"), 0.3)
    (KINDS | GRAY)[name](path, grainy)
    whole = path.read_bytes()
    for share in (0.05, 0.2):
        path.write_bytes(whole[: round(len(whole) * share)])
        if name in {"progressive.jpg", "moving.webp", "moving.gif"}:
            continue  # its first part is the whole picture already, if coarse, or the frame that is shown
        with pytest.raises(PermanentError, match=r"broken or cut off|cannot be read"):
            read(path)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_limit_on_pixels_holds_before_anything_is_decoded(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    KINDS[name](path, draw_scene(*SIZE))
    limits = Limits(video_pixels=1, video_duration_seconds=1, image_pixels=600 * 450 - 1, streams=1)
    with pytest.raises(PermanentError, match="600 x 450"):
        opened(path, limits)


def test_photos_whose_decoder_holds_them_whole_have_a_limit_of_their_own(tmp_path: Path) -> None:
    head = tmp_path / "large.heic"
    write_heif(head, Image.new("RGB", (64, 64)))
    large = head.read_bytes().replace(
        b"ispe\0\0\0\0\0\0\0\x40\0\0\0\x40", b"ispe\0\0\0\0\0\0\x1f\x40\0\0\x1f\x40"
    )
    head.write_bytes(large)
    with pytest.raises(PermanentError, match="8000 x 8000"):
        opened(head)


def test_bomb_of_a_few_bytes_is_refused_by_its_claim(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (20_000, 20_000)).save(path)
    assert path.stat().st_size < 100_000
    with pytest.raises(PermanentError, match="20000 x 20000"):
        opened(path)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process's memory is read from /proc")
@pytest.mark.parametrize("options", [{"progressive": True}, {"progressive": False}])
def test_largest_photo_allowed_takes_less_than_a_gigabyte(tmp_path: Path, options: dict[str, bool]) -> None:
    path = tmp_path / "large.jpg"
    Image.linear_gradient("L").resize((10_000, 10_000)).convert("RGB").save(path, quality=90, **options)
    look = (
        "import re, sys\n"
        "from pathlib import Path\n"
        "from media_worker.codecs import images\n"
        "from media_worker.domain.policy import Limits\n"
        "original = images.opened(Path(sys.argv[1]), 'JPEG', Limits(1, 1, 100_000_000, 1))\n"
        "assert original.read(1280, 1280).width == 1280\n"
        "status = Path('/proc/self/status').read_text()\n"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", look, str(path)], capture_output=True, text=True, timeout=120, check=True
    )
    assert int(done.stdout) < MOST_MEMORY_MB


def test_avif_under_the_name_of_heif_is_read(tmp_path: Path) -> None:
    path, file = tmp_path / "photo.heic", io.BytesIO()
    draw_scene(*SIZE).save(file, "AVIF", speed=10)
    path.write_bytes(file.getvalue().replace(b"ftypavif", b"ftypmif1"))
    assert is_upright(shown(read(path)))


@pytest.mark.parametrize("form", ["jpeg", "webp", "avif", "png"])
def test_written_picture_is_the_one_that_was_read(tmp_path: Path, form: str) -> None:
    source, made = tmp_path / "photo.jpg", tmp_path / "made"
    write_photo(source, *SIZE, 6)
    read(source).save(made, form, 80)
    with Image.open(made) as picture:
        assert picture.format.lower() == form
        assert not {"exif", "icc_profile", "xmp", "comment"} & set(picture.info)
        assert distance(picture, draw_scene(*SIZE)) < 8


def test_focal_point_is_where_something_stands_out(tmp_path: Path) -> None:
    for x, y in ((0.25, 0.3), (0.75, 0.7), (0.8, 0.25)):
        picture = Image.new("RGB", (400, 300), (90, 110, 130))
        left, top = round(x * 400) - 30, round(y * 300) - 40
        ImageDraw.Draw(picture).ellipse((left, top, left + 60, top + 80), fill=(224, 172, 140))
        picture.save(tmp_path / "face.png")
        point = images.focal_point(read(tmp_path / "face.png", 256))
        assert (point.x, point.y) == pytest.approx((x, y), abs=0.17)


@needs_real_media()
@pytest.mark.parametrize("original", real_media("hostile"), ids=lambda path: path.name)
def test_hostile_file_is_refused_as_a_photo_or_is_one(original: Path) -> None:
    if original.name == "ex_image01551.jpg":  # only its EXIF is broken: the picture is good
        assert read(original).width == 61
        return
    with pytest.raises(PermanentError):
        read(original)
