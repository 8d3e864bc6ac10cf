"""What is made of a photo: the decisions, and the files."""

import json
from base64 import b64decode
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from kinstream.catalog.variants import VariantSpec
from kinstream.errors import PermanentError
from kinstream_devkit.generate.media import draw_scene, write_phone_video, write_photo
from media_worker import making
from media_worker.domain.crops import MIDDLE, Fit, Point, box_around, laid_out, square_around
from media_worker.domain.options import Options, PhotoOptions
from media_worker.domain.photos import MOST_VARIANT_SIDE, image_scales
from media_worker.domain.policy import Limits
from media_worker.domain.recipes import RECIPES, Made, Step
from media_worker.domain.thumbhash import thumbhash
from media_worker.rendition import discover
from tests.support.media_samples import needs_real_media, real_media, traces_of_place
from tests.support.media_tools import require_tools, telling_tags
from tests.support.recordings import is_upright

LIMITS = Limits(video_pixels=4096 * 2304, video_duration_seconds=7_200, image_pixels=100_000_000, streams=16)
SIDES = st.integers(1, 6_000)
SHARES = st.floats(0, 1)


def make(source: Path, options: Options | None = None, steps: list[Step] | None = None) -> dict[str, Made]:
    """The photo's recipe, or these steps, into a folder `out` beside it."""
    options, folder = options or Options(), source.parent / "out"
    folder.mkdir(exist_ok=True)
    facts = making.inspect(source, "image", LIMITS)
    found = discover()
    steps = steps or [step for name in RECIPES[facts.kind] for step in found[name].plan(facts, options)]
    made = making.make(source, folder, making.Order(facts, steps, LIMITS, options), lambda _: None)
    for one in made:
        with Image.open(folder / one.file_name) as picture:
            assert picture.size == (one.width, one.height)
            assert f"image/{picture.format.lower()}" == one.content_type
    return {one.name: one for one in made}


def variant(source: Path, **arguments: object) -> Image.Image:
    """The picture that a spec asks for."""
    spec = VariantSpec(**arguments)
    made = make(source, steps=[Step(spec.name, "variant", 0.1, arguments=spec.arguments)])
    assert list(made) == [spec.name]
    with Image.open(source.parent / "out" / made[spec.name].file_name) as picture:
        picture.load()
        return picture


@given(SIDES, SIDES)
def test_photo_has_three_sizes_each_no_larger_than_the_one_before(width: int, height: int) -> None:
    scales = image_scales(width, height)
    sizes = [(scale.width, scale.height) for scale in scales]
    assert [scale.name for scale in scales] == ["image-1280", "image-640", "image-256"]
    assert sizes == sorted(sizes, reverse=True)


@given(SIDES, SIDES, SHARES, SHARES)
def test_square_is_the_largest_there_is_and_as_near_to_the_point_as_it_gets(
    width: int, height: int, x: float, y: float
) -> None:
    box = square_around(width, height, Point(x, y))
    assert box.width == box.height == min(width, height)
    assert 0 <= box.left <= width - box.width
    assert 0 <= box.top <= height - box.height
    assert box.left <= round(x * width) <= box.left + box.width
    assert box.top <= round(y * height) <= box.top + box.height


@given(SIDES, SIDES, st.none() | SIDES, st.none() | SIDES, st.sampled_from(["inside", "cover", "contain"]))
@example(4032, 3024, 400, 400, "cover")
def test_layout_keeps_within_the_box_and_the_photo(
    width: int, height: int, box_width: int | None, box_height: int | None, how: Fit
) -> None:
    layout = laid_out((width, height), (box_width, box_height), how, MOST_VARIANT_SIDE)
    most = (box_width or MOST_VARIANT_SIDE, box_height or MOST_VARIANT_SIDE)
    scaled, cut, canvas = layout.scaled, layout.cut, layout.canvas
    assert min(*scaled, *cut) >= 1
    for side in range(2):
        assert cut[side] <= scaled[side] <= (width, height)[side]
        assert canvas[side] <= min(most[side], MOST_VARIANT_SIDE)
    # Nothing is squeezed: the sides differ from the photo's shape by rounding alone.
    assert abs(scaled[0] * height - scaled[1] * width) <= max(width, height)
    if how == "cover" and box_width and box_height:
        assert abs(cut[0] * min(box_height, 4096) - cut[1] * min(box_width, 4096)) <= max(
            box_width, box_height
        )
    if how == "contain" and box_width and box_height:
        assert canvas == (min(box_width, 4096), min(box_height, 4096))


def test_box_goes_to_the_edge_and_no_further() -> None:
    assert box_around((100, 50), (40, 50), Point(0, 0)).left == 0
    assert box_around((100, 50), (40, 50), Point(1, 0)).left == 60
    assert box_around((100, 50), (40, 50), MIDDLE).left == 30


THUMBHASHES = {
    # width, height, alpha of column x: what the format's own library makes of the same pixels
    (32, 24, False): "db180e1d9a6076877088888688678887f3a40ff788",
    (24, 32, True): "5e0886140c37a4078a688896463cfca44f0877878888888807",
}


@pytest.mark.parametrize(("width", "height", "clear"), THUMBHASHES)
def test_thumbhash_is_what_the_formats_own_library_makes(width: int, height: int, clear: bool) -> None:
    pixels = bytes(
        value
        for y in range(height)
        for x in range(width)
        for value in (x * 8 % 256, y * (8 if clear else 10) % 256, x * y % 256, x * 10 if clear else 255)
    )
    wanted = bytes.fromhex(THUMBHASHES[width, height, clear])
    made = thumbhash(width, height, pixels)
    assert made[:5] == wanted[:5]
    # A wave of no strength lies between two codes: either is right.
    nibbles = zip(made.hex(), wanted.hex(), strict=True)
    assert all(abs(int(mine, 16) - int(theirs, 16)) <= 1 for mine, theirs in nibbles)


@given(st.tuples(*[st.integers(0, 255)] * 3), st.integers(1, 40), st.integers(1, 40))
def test_thumbhash_tells_the_mean_colour_and_the_shape(
    color: tuple[int, int, int], width: int, height: int
) -> None:
    made = thumbhash(width, height, bytes([*color, 255]) * (width * height))
    head = int.from_bytes(made[:3], "little")
    light, yellow, red = (head & 63) / 63, (head >> 6 & 63) / 31.5 - 1, (head >> 12 & 63) / 31.5 - 1
    blue = light - 2 / 3 * yellow
    red_share = (3 * light - blue + red) / 2
    told = (red_share, red_share - red, blue)
    assert all(abs(share * 255 - value) < 14 for share, value in zip(told, color, strict=True))
    second = int.from_bytes(made[3:5], "little")
    assert bool(second >> 15) == (width > height)
    assert abs((second & 7) - max(1, 7 * min(width, height) / max(width, height))) <= 1


@pytest.mark.parametrize("also_as", ["webp", "avif", "none"])
def test_photo_comes_in_every_size_and_as_a_square_upright_and_without_a_place(
    tmp_path: Path, also_as: str
) -> None:
    source = tmp_path / "photo.jpg"
    write_photo(source, 1500, 2000, 8)
    assert traces_of_place(source.read_bytes()) != []

    made = make(source, Options(photo=PhotoOptions(also_as=also_as)))

    sizes = {name: (one.width, one.height) for name, one in made.items()}
    wanted = {"image-1280": (960, 1280), "image-640": (480, 640), "image-256": (192, 256)}
    beside = {} if also_as == "none" else {f"{name}-{also_as}": size for name, size in wanted.items()}
    assert sizes == wanted | beside | {"square": (512, 512)}
    for one in made.values():
        path = tmp_path / "out" / one.file_name
        assert traces_of_place(path.read_bytes()) == []
        with Image.open(path) as picture:
            assert not {"exif", "icc_profile", "xmp"} & set(picture.info)
            assert one.name == "square" or is_upright(picture)
    if beside:
        folder = tmp_path / "out"
        assert all(
            (folder / made[f"{name}-{also_as}"].file_name).stat().st_size
            < (folder / made[name].file_name).stat().st_size
            for name in wanted
        )


def test_detail_tells_what_to_show_before_and_where_to_look(tmp_path: Path) -> None:
    write_photo(tmp_path / "photo.jpg", 800, 600, 1)
    detail = make(tmp_path / "photo.jpg")["image-1280"].detail
    assert json.loads(json.dumps(detail)) == detail
    assert 15 <= len(b64decode(detail["thumbhash"])) <= 30
    assert all(0 <= share <= 1 for share in detail["focal_point"])


def test_small_photo_is_not_enlarged(tmp_path: Path) -> None:
    draw_scene(90, 30).save(tmp_path / "small.png")
    made = make(tmp_path / "small.png")
    assert {(one.width, one.height) for name, one in made.items() if name != "square"} == {(90, 30)}
    assert (made["square"].width, made["square"].height) == (30, 30)


def test_square_holds_the_face_at_the_side_of_a_wide_photo(tmp_path: Path) -> None:
    wide = Image.new("RGB", (1600, 500), (90, 110, 130))
    ImageDraw.Draw(wide).ellipse((1200, 120, 1360, 340), fill=(224, 172, 140))
    wide.save(tmp_path / "wide.jpg")
    made = make(tmp_path / "wide.jpg")
    with Image.open(tmp_path / "out" / made["square"].file_name) as square:
        pixels = np.asarray(square.convert("RGB"))
    skin = ((pixels[..., 0] > 200) & (pixels[..., 2] < 170)).sum()
    assert skin > 0.9 * 160 * 220 * 3.14 / 4 * (400 / 500) ** 2


def test_variant_lies_inside_its_box_covers_it_or_fills_it_up(tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    write_photo(source, 800, 600, 6)
    assert variant(source, width=400).size == (400, 300)
    assert variant(source, height=150, format="webp").size == (200, 150)
    assert variant(source, width=100, height=100, fit="cover", format="avif").size == (100, 100)
    contained = variant(source, width=200, height=200, fit="contain", format="png")
    assert contained.size == (200, 200)
    assert contained.getpixel((100, 5)) == (255, 255, 255)
    assert is_upright(contained.crop((0, 25, 200, 175)))


def test_variant_is_never_larger_than_the_photo(tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    write_photo(source, 400, 300, 1)
    assert variant(source, width=4096).size == (400, 300)
    assert variant(source, width=2000, height=2000, fit="cover").size == (300, 300)


def test_covering_variant_keeps_to_a_focal_point_that_is_known(tmp_path: Path) -> None:
    halves = Image.new("RGB", (600, 200), "red")
    halves.paste("blue", (300, 0, 600, 200))
    halves.save(tmp_path / "halves.png")
    arguments = VariantSpec(width=100, height=100, fit="cover").arguments
    for point, color in {(0.1, 0.5): "red", (0.9, 0.5): "blue"}.items():
        step = Step("cut", "variant", 0.1, arguments=arguments | {"focal_point": list(point)})
        made = make(tmp_path / "halves.png", steps=[step])
        with Image.open(tmp_path / "out" / made["cut"].file_name) as picture:
            red, _, blue = picture.getpixel((50, 50))
        assert (red > blue) == (color == "red")


def test_variant_quality_is_what_was_asked(tmp_path: Path) -> None:
    source = tmp_path / "photo.jpg"
    write_photo(source, 800, 600, 1)
    sizes = []
    for quality in (30, 90):
        variant(source, width=400, quality=quality)
        sizes.append((tmp_path / "out" / f"image-w400-inside-jpeg-q{quality}.jpg").stat().st_size)
    assert sizes[0] * 2 < sizes[1]


def test_variant_of_a_video_is_asked_of_its_poster(tmp_path: Path) -> None:
    source = tmp_path / "clip.3gp"
    write_phone_video(source, seconds=1)
    facts = making.inspect(source, "video", LIMITS)
    poster = next(step for step in discover()["poster"].plan(facts, Options()) if step.name == "poster")
    making.make(source, tmp_path, making.Order(facts, [poster], LIMITS, Options()), lambda _: None)
    step = Step("image-w96-inside-jpeg-q80", "variant", 0.1, arguments={"width": 96})
    order = making.Order(None, [step], LIMITS, Options())
    (made,) = making.make(tmp_path / "poster.jpg", tmp_path, order, lambda _: None)
    with Image.open(tmp_path / made.file_name) as picture:
        assert picture.size == (96, 72)
        assert is_upright(picture)
    with pytest.raises(PermanentError, match="declared as image"):
        making.make(source, tmp_path, order, lambda _: None)


@needs_real_media()
def test_real_photos_come_out_without_metadata_as_exiftool_sees_them(tmp_path: Path) -> None:
    require_tools()
    originals = real_media("image")
    assert len(telling_tags(originals)) > len(originals) / 2
    for number, original in enumerate(originals):
        source = tmp_path / str(number) / f"photo{original.suffix}"
        source.parent.mkdir()
        source.write_bytes(original.read_bytes())
        made = make(source, Options(photo=PhotoOptions(also_as="avif" if number % 4 == 0 else "webp")))
        found = telling_tags([source.parent / "out" / one.file_name for one in made.values()])
        assert found == {}, original.name
