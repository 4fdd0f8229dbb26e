"""Examines images with Pillow. Runs in the child only."""

import math
from array import array
from typing import TYPE_CHECKING, BinaryIO

# All plugins that may be needed, and those of preinit, before the file is read: the child can then open no module.
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageOps,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from shared.media.colours import Profile
from shared.media.decoders import IMAGES
from shared.media.dimensions import MAX_PIXELS, TooLarge, check
from shared.media.media import MAX_THUMBNAIL_SIDE, Answer, ThumbnailType

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

PLUGINS = (
    AvifImagePlugin, BmpImagePlugin, GifImagePlugin, JpegImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin,
    WebPImagePlugin,
)  # fmt: skip
Image.preinit()
FORMATS = sorted(set(IMAGES.values()))
ORIENTATION = 0x0112  # EXIF's tag; with values from 5 on, the image is turned by 90 degrees
SEE_THROUGH = ("RGBA", "LA", "PA", "La", "RGBa")
# Modes of large numbers or fractions, and the value that is white by convention.
WHITES = {"I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;16N": 65535, "I": 65535, "F": 1}
BAND = 1_000_000  # pixels that are converted at a time


def show(file: BinaryIO, content_type: str, thumbnail: BinaryIO) -> Answer:
    """Returns an image's dimensions as displayed; writes its thumbnail, or that of an animation's first frame."""
    # Pillow raises at twice this number. WebP's decoder needs this, because it takes its memory before check() runs.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the child may not be allowed a second one
    try:
        opened = Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooLarge from None
    with opened as image:
        width, height = check(*image.size, image.format or "")
        kind = write(image, thumbnail)
        if _is_turned(image):
            width, height = height, width
    return {"width": width, "height": height, "thumbnail_type": kind}


def write(image: "Picture", thumbnail: BinaryIO) -> ThumbnailType:
    """Writes an upright thumbnail and returns its content type."""
    size = small(*image.size)
    # Decodes a JPEG at up to an eighth of its size, if that is enough; does nothing for other formats.
    image.draft(None, (2 * size[0], 2 * size[1]))
    picture = _reduced(image).resize(size)
    picture.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    picture = ImageOps.exif_transpose(picture) or picture
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] != 255:
        picture.save(thumbnail, "WEBP", quality=80)
        return "image/webp"
    # A thumbnail has no metadata: it would publish where a photo was taken.
    picture.convert("RGB").save(thumbnail, "JPEG", quality=80, optimize=True, exif=b"")
    return "image/jpeg"


def small(width: int, height: int) -> tuple[int, int]:
    """Returns the dimensions of the thumbnail."""
    scale = min(1.0, MAX_THUMBNAIL_SIDE / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _reduced(image: "Picture") -> "Picture":
    """Returns the picture as RGB or RGBA, in sRGB, at about twice its thumbnail's size."""
    if image.mode in WHITES:
        return _grey(_reduced_as("F", image), WHITES[image.mode]).convert("RGB")
    profile = Profile(image)
    is_see_through = image.mode in SEE_THROUGH or "transparency" in image.info
    if not profile.mode:  # mutant: profiles
        return _reduced_as("RGBA" if is_see_through else "RGB", image)
    if not is_see_through:
        return profile.to_srgb(_reduced_as(profile.mode, image))
    picture = _reduced_as("RGBA", image)
    shown = profile.to_srgb(picture.convert(profile.mode))
    shown.putalpha(picture.getchannel("A"))
    return shown


def _reduced_as(mode: str, image: "Picture") -> "Picture":
    """Returns the picture in this mode.

    It converts band by band, so memory never holds a second full-size picture.
    """
    factor = max(1, max(image.size) // (2 * MAX_THUMBNAIL_SIDE))
    width, height = image.size
    rows = max(1, BAND // width // factor) * factor
    reduced = Image.new(mode, (-(-width // factor), -(-height // factor)))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(height, top + rows))).convert(mode)
        reduced.paste(band.reduce(factor), (0, top // factor))
    return reduced


def _grey(picture: "Picture", white: int) -> "Picture":
    """Returns a grey picture of any numbers with 256 levels.

    A picture that spans half of the usual range or more is shown as it is. Another, such as a depth map, is stretched
    from its darkest to its brightest level. Values that are no numbers are as dark as the darkest.
    """
    levels = array("f", picture.tobytes())
    finite = [level for level in levels if math.isfinite(level)] or [0.0]
    low, high = min(finite), max(finite)
    if (low >= 0 and high <= white and high - low >= white / 2) or low == high:  # mutant: stretched greys
        low, high = 0.0, float(max(white, high))
    scale = 255 / (high - low)
    grey = bytes(0 if math.isnan(level) else round((min(max(level, low), high) - low) * scale) for level in levels)
    return Image.frombytes("L", picture.size, grey)


def _is_turned(image: "Picture") -> bool:
    return image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
