"""Reading photos: the decoder is named, never guessed, and pixels are counted before any is decoded."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pillow_heif
import pyvips

from kinstream.errors import PermanentError
from media_worker.codecs.images.picture import ORIENTATION, Picture, resized
from media_worker.domain import policy
from media_worker.domain.photos import PhotoFacts, check_size, is_enough_of_it
from media_worker.domain.policy import Limits

_BROKEN = "the photo is broken or cut off: it cannot be decoded"
_PROFILE = "icc-profile-data"
_TURNED = frozenset({5, 6, 7, 8})
_LOADERS = {
    "JPEG": "jpegload",
    "PNG": "pngload",
    "WEBP": "webpload",
    "GIF": "gifload",
    "AVIF": "heifload",
}
_SHRINKS = (8, 4, 2)
_BOX_HEAD_BYTES, _LEAST_BOX_BYTES = 16, 8
_MOST_BOXES = 100
"""Looked at; photos have a handful at the top."""
_HEIF_ERRORS = (OSError, ValueError, RuntimeError, EOFError, SyntaxError, IndexError)

Decoder = Callable[[int, bool], Any]
"""Gives a libvips image at least 1/n of its size, for n that it is given; the flag: take what is there."""


class Original:
    """A photo of which the head has been read, and nothing else yet."""

    def __init__(self, width: int, height: int, orientation: int, decode: Decoder) -> None:
        self._stored = width, height
        self._orientation, self._is_turned = orientation, orientation in _TURNED
        self._decode = decode
        self.width, self.height = (height, width) if self._is_turned else (width, height)

    @property
    def facts(self) -> PhotoFacts:
        """Its size as it is shown."""
        return PhotoFacts(self.width, self.height)

    def read(self, width: int, height: int) -> Picture:
        """The picture in this size, right way up; it must not be larger than the photo.

        Of a file that is cut off, what there is, if that is most of it. PermanentError where it is not, and
        for what cannot be decoded.
        """
        size = (height, width) if self._is_turned else (width, height)
        try:
            picture = self._decoded(size, lenient=False)
        except pyvips.Error:
            picture = self._rest(size)
        return picture.turned(self._orientation)

    def _decoded(self, size: tuple[int, int], *, lenient: bool) -> Picture:
        spare = min(stored / wanted for stored, wanted in zip(self._stored, size, strict=True))
        shrink = next((n for n in _SHRINKS if n <= spare), 1)
        return Picture.of(_in_srgb(resized(self._decode(shrink, lenient), *size)))

    def _rest(self, size: tuple[int, int]) -> Picture:
        try:
            picture = self._decoded(size, lenient=True)
        except pyvips.Error as error:
            raise _reason(error) from error
        if not is_enough_of_it(picture.rows_before_filling(), picture.height):
            raise PermanentError(_BROKEN)
        return picture


def opened(path: Path, format_name: str, limits: Limits) -> Original:
    """The photo; PermanentError for what cannot be decoded or is too large to try."""
    # Kept results would outlive a file that is written anew under the same name.
    pyvips.cache_set_max(0)
    if format_name == "HEIF" and not _is_avif(path):
        return _opened_heic(path, limits)
    format_name = "AVIF" if format_name == "HEIF" else format_name
    load = getattr(pyvips.Image, _LOADERS[format_name])
    try:
        head = load(str(path))
        orientation = head.get(ORIENTATION) if head.get_typeof(ORIENTATION) else 1
    except pyvips.Error as error:
        raise _reason(error) from error
    check_size(head.width, head.height, format_name, limits)

    def decode(shrink: int, lenient: bool) -> Any:
        # These two decode at a part of the size for less time and memory.
        smaller: dict[str, float] = {}
        if format_name == "JPEG":
            smaller = {"shrink": shrink}
        elif format_name == "WEBP":
            smaller = {"scale": 1 / shrink}
        return load(str(path), access="sequential", fail_on="none" if lenient else "truncated", **smaller)

    return Original(head.width, head.height, orientation, decode)


def _opened_heic(path: Path, limits: Limits) -> Original:
    if _is_cut_off(path):
        # Of a photo in tiles, as phones write them, the decoder would show those that are missing in black.
        raise PermanentError(_BROKEN)
    try:
        found = pillow_heif.open_heif(path, convert_hdr_to_8bit=True)
        width, height = found.size
    except _HEIF_ERRORS as error:
        raise PermanentError(_BROKEN) from error
    check_size(width, height, "HEIF", limits)

    def decode(_shrink: int, _lenient: bool) -> Any:
        try:
            pixels, bands = bytes(found.data), len(found.mode)
        except _HEIF_ERRORS as error:
            raise PermanentError(_BROKEN) from error
        image = pyvips.Image.new_from_memory(pixels, found.stride // bands, height, bands, "uchar")
        image = image.crop(0, 0, width, height).copy(interpretation="srgb" if bands > 2 else "b-w")
        if profile := found.info.get("icc_profile"):
            image.set_type(pyvips.GValue.blob_type, _PROFILE, profile)
        return image

    # Its decoder has turned the picture already.
    return Original(width, height, 1, decode)


def _is_cut_off(path: Path) -> bool:
    """Whether the pixels of a HEIF file, by the length that they claim, go on beyond its end."""
    size_bytes, at = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(_MOST_BOXES):
            file.seek(at)
            head = file.read(_BOX_HEAD_BYTES)
            length = int.from_bytes(head[:4])
            if length == 1:
                length = int.from_bytes(head[8:])
            at += length
            if head[4:8] == b"mdat" and at > size_bytes:
                return True
            # The end, or what phones append behind the boxes and is none.
            if length < _LEAST_BOX_BYTES or at >= size_bytes:
                break
    return False


def _is_avif(path: Path) -> bool:
    """Whether a file that calls itself HEIF holds AV1: its other names tell."""
    with path.open("rb") as file:
        head = file.read(policy.HEAD_BYTES)
    return b"avif" in head[8 : int.from_bytes(head[:4])]


def _in_srgb(image: Any) -> Any:
    if image.get_typeof(_PROFILE):
        try:
            return image.icc_transform("srgb", embedded=True, black_point_compensation=True)
        except pyvips.Error:
            pass  # a broken profile, or one of another kind of picture: shown as if it had none
    return image.colourspace("srgb")


def _reason(error: pyvips.Error) -> Exception:
    return MemoryError() if "out of memory" in str(error) else PermanentError(_BROKEN)
