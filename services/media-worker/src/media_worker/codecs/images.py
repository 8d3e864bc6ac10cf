"""Photos through Pillow: one decode, then a cascade of sizes. Nothing else here imports PIL.

The format is given, never guessed, and the number of pixels is checked before any is decoded.
"""

import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import pillow_heif
from PIL import ExifTags, Image, ImageCms, ImageOps

from kinstream.errors import PermanentError
from media_worker.domain import policy
from media_worker.domain.geometry import Scale, fit
from media_worker.domain.photos import IMAGE_SIZES, PhotoFacts, image_scales
from media_worker.domain.policy import Limits

_QUALITY = 80
_TURNED = frozenset({5, 6, 7, 8})
_BROKEN = "the photo is broken or cut off: it cannot be decoded"


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A rendition that has been written."""

    scale: Scale
    path: Path


def look(path: Path, format_name: str, limits: Limits) -> PhotoFacts:
    """What the photo's head tells; PermanentError for what cannot be decoded or is too large to try."""
    with _opened(path, format_name) as photo:
        policy.check_image(*photo.size, limits)
        width, height = photo.size[::-1] if _orientation(photo, format_name) in _TURNED else photo.size
        return PhotoFacts(width, height)


def write_thumbnails(path: Path, format_name: str, folder: Path, limits: Limits) -> list[Thumbnail]:
    """The photo in each size as JPEG: right way up, in sRGB, without EXIF, place or profile.

    PermanentError for what cannot be decoded and for what is too large to try.
    """
    with _opened(path, format_name) as photo:
        policy.check_image(*photo.size, limits)
        try:
            orientation = _orientation(photo, format_name)
            shown = photo.size[::-1] if orientation in _TURNED else photo.size
            # JPEG is decoded at half, a quarter or an eighth of its size where that is enough.
            photo.draft("RGB", fit(*photo.size, IMAGE_SIZES[0]))
            current = _flat(photo)
            scales = image_scales(*shown)
            largest = scales[0].width, scales[0].height
            current = _resized(current, largest[::-1] if orientation in _TURNED else largest)
            current = _upright(_in_srgb(current, photo.info.get("icc_profile")), orientation)
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error) as error:
            raise PermanentError(_BROKEN) from error
    made = []
    for scale in scales:
        current = _resized(current, (scale.width, scale.height))
        target = folder / f"{scale.name}.jpg"
        current.save(target, "JPEG", quality=_QUALITY, optimize=True)
        made.append(Thumbnail(scale, target))
    return made


def _opened(path: Path, format_name: str) -> Image.Image:
    if format_name == "HEIF":
        pillow_heif.register_heif_opener()
    # Some AVIF files call themselves HEIF.
    formats = ["HEIF", "AVIF"] if format_name == "HEIF" else [format_name]
    try:
        with warnings.catch_warnings():
            # Policy decides on the size, a moment later and with a reason.
            warnings.simplefilter("ignore")
            return Image.open(path, formats=formats)
    except Image.DecompressionBombError as error:
        raise PermanentError("the image claims more pixels than can be decoded") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise PermanentError(_BROKEN) from error


def _orientation(photo: Image.Image, format_name: str) -> int:
    # HEIF's decoder turns the picture by itself.
    return 1 if format_name == "HEIF" else int(photo.getexif().get(ExifTags.Base.Orientation, 1))


def _flat(photo: Image.Image) -> Image.Image:
    """Without transparency and palette, in a mode that can be scaled."""
    if photo.mode in ("RGB", "L", "CMYK"):
        photo.load()
        return photo
    if photo.mode in ("RGBA", "LA", "PA", "P") or "transparency" in photo.info:
        photo = photo.convert("RGBA")
        white = Image.new("RGB", photo.size, "white")
        white.paste(photo, mask=photo.getchannel("A"))
        return white
    return photo.convert("RGB")


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    return image if image.size == size else image.resize(size, Image.Resampling.LANCZOS)


def _in_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    if profile:
        try:
            given = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(
                image, given, ImageCms.createProfile("sRGB"), outputMode="RGB"
            )
            return converted or image.convert("RGB")
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # a broken profile, or one of another colour space: shown as if it had none
    return image.convert("RGB")


def _upright(image: Image.Image, orientation: int) -> Image.Image:
    image.info.clear()
    turned = image.getexif()
    turned[ExifTags.Base.Orientation] = orientation
    upright = ImageOps.exif_transpose(image)
    # What is left would be saved along with the picture.
    upright.info.clear()
    upright.getexif().clear()
    return upright
