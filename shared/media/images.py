"""Examines images with Pillow. Runs in the child only."""

from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageOps

from shared.media.dimensions import MAX_PIXELS, TooLarge, check
from shared.media.media import MAX_THUMBNAIL_SIDE, Answer, ThumbnailType

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# No others: Pillow brings old decoders that are rarely reviewed.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ORIENTATION = 0x0112  # EXIF's tag; with values from 5 on, the image is turned by 90 degrees
SEE_THROUGH = ("RGBA", "LA", "PA", "La", "RGBa")
BAND = 1_000_000  # pixels that are converted at a time


def show(path: Path, content_type: str, thumbnail: Path) -> Answer:
    """Returns an image's dimensions as displayed; writes its thumbnail, or that of an animation's first frame."""
    # Pillow raises at twice this number. WebP's decoder needs this, because it takes its memory before check() runs.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2
    try:
        opened = Image.open(path, formats=FORMATS)
    except Image.DecompressionBombError:
        raise TooLarge from None
    with opened as image:
        width, height = check(*image.size, image.format or "")
        kind = write(image, thumbnail)
        if _is_turned(image):
            width, height = height, width
    return {"width": width, "height": height, "thumbnail_type": kind}


def write(image: "Picture", thumbnail: Path) -> ThumbnailType:
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
    """Returns the picture as RGB or RGBA at about twice its thumbnail's size.

    It converts band by band, so memory never holds a second full-size picture.
    """
    mode = "RGBA" if image.mode in SEE_THROUGH or "transparency" in image.info else "RGB"
    factor = max(1, max(image.size) // (2 * MAX_THUMBNAIL_SIDE))
    width, height = image.size
    rows = max(1, BAND // width // factor) * factor
    reduced = Image.new(mode, (-(-width // factor), -(-height // factor)))
    for top in range(0, height, rows):
        band = image.crop((0, top, width, min(height, top + rows))).convert(mode)
        reduced.paste(band.reduce(factor), (0, top // factor))
    return reduced


def _is_turned(image: "Picture") -> bool:
    return image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
