"""What size of a photo an app asks for, on demand. Pure: the API names a variant, the worker makes it."""

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal, Self, get_args

from kinstream.errors import PermanentError

Fit = Literal["inside", "cover", "contain"]
"""`inside`: whole, within the box. `cover`: fills the box, cropped around what matters in the photo.
`contain`: whole, on a canvas that is the box."""
ImageFormat = Literal["jpeg", "webp", "avif", "png"]

MAX_SIDE = 4_096
"""Pixels."""
ROLE = "variant"
"""Of its row among an item's steps, and of the rendition that makes it."""
DEFAULT_FIT: Fit = "inside"
DEFAULT_FORMAT: ImageFormat = "jpeg"
DEFAULT_QUALITY = 80

_NAME = re.compile(r"image(?:-w([0-9]{1,4}))?(?:-h([0-9]{1,4}))?-([a-z]+)-([a-z]+)-q([0-9]{1,4})")


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """A photo in a box of pixels, of which one side may be left open; never larger than the photo itself.

    Two specs that mean the same are equal: with one side open every fit is `inside`, and PNG has one quality.
    PermanentError, with a sentence for whoever asked, where a value is out of bounds.
    """

    width: int | None = None
    height: int | None = None
    fit: Fit = DEFAULT_FIT
    format: ImageFormat = DEFAULT_FORMAT
    quality: int = DEFAULT_QUALITY
    """1 to 100, as encoders of the format take it."""

    def __post_init__(self) -> None:
        sides = [side for side in (self.width, self.height) if side is not None]
        if not sides:
            raise PermanentError("a variant needs a width or a height, in pixels")
        if not all(1 <= side <= MAX_SIDE for side in sides):
            raise PermanentError(f"width and height of a variant are 1 to {MAX_SIDE:,} pixels")
        if self.fit not in get_args(Fit):
            raise PermanentError(f"fit of a variant is one of {', '.join(get_args(Fit))}")
        if self.format not in get_args(ImageFormat):
            raise PermanentError(f"format of a variant is one of {', '.join(get_args(ImageFormat))}")
        if not 1 <= self.quality <= 100:
            raise PermanentError("quality of a variant is 1 to 100")
        if len(sides) == 1:
            object.__setattr__(self, "fit", DEFAULT_FIT)
        if self.format == "png":
            object.__setattr__(self, "quality", DEFAULT_QUALITY)

    @property
    def name(self) -> str:
        """Its one name, such as `image-w640-h480-cover-webp-q80`: of the step, the rendition and the file."""
        width = "" if self.width is None else f"-w{self.width}"
        height = "" if self.height is None else f"-h{self.height}"
        return f"image{width}{height}-{self.fit}-{self.format}-q{self.quality}"

    @property
    def box(self) -> tuple[int, int]:
        """(width, height) that the result lies within, in pixels: an open side is bounded too."""
        return self.width or MAX_SIDE, self.height or MAX_SIDE

    @property
    def arguments(self) -> dict[str, Any]:
        """Its fields as the step carries them."""
        return asdict(self)

    @classmethod
    def of_arguments(cls, arguments: dict[str, Any]) -> Self:
        """The spec that `arguments` came from; PermanentError where they came from none."""
        try:
            return cls(**arguments)
        except TypeError as error:
            raise PermanentError("these are no arguments of a variant") from error

    @classmethod
    def parse(cls, name: str) -> Self:
        """The spec of a name; PermanentError unless it is the one name of one."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise PermanentError("this is no name of a variant")
        width, height, fit, image_format, quality = found.groups()
        spec = cls(
            width=int(width) if width else None,
            height=int(height) if height else None,
            fit=fit,  # type: ignore[arg-type]  # checked by the spec itself
            format=image_format,  # type: ignore[arg-type]
            quality=int(quality),
        )
        if spec.name != name:
            raise PermanentError(f"the name of this variant is {spec.name}")
        return spec
