"""Images by Pillow. Runs in the child only."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageOps

from shared.media.dimensions import check
from shared.media.media import LONGEST_SIDE

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

# No others: Pillow brings decoders that nobody has looked at for years.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
ORIENTATION = 0x0112  # EXIF's tag; from 5 on an image lies on its side
SEE_THROUGH = ("RGBA", "LA", "PA", "La", "RGBa")


def show(path: Path, content_type: str, thumbnail: Path) -> dict[str, Any]:
    """An image's dimensions as displayed, and its thumbnail; of an animated one its first frame's."""
    Image.MAX_IMAGE_PIXELS = None  # check() says it earlier, and as an error
    with Image.open(path, formats=FORMATS) as image:
        width, height = check(*image.size)
        if _is_on_its_side(image):
            width, height = height, width
        kind = write(image, thumbnail)
    return {"width": width, "height": height, "thumbnail_type": kind}


def write(image: "Picture", thumbnail: Path) -> str:
    """Writes an upright thumbnail and gives its content type."""
    if image.mode == "P" or "transparency" in image.info:
        image = image.convert("RGBA")
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    image = ImageOps.exif_transpose(image) or image
    if image.mode in SEE_THROUGH and image.convert("RGBA").getchannel("A").getextrema()[0] != 255:
        image.convert("RGBA").save(thumbnail, "WEBP", quality=80)
        return "image/webp"
    # Metadata stays behind: where a photo was taken is nobody's business.
    image.convert("RGB").save(thumbnail, "JPEG", quality=80, optimize=True)
    return "image/jpeg"


def _is_on_its_side(image: "Picture") -> bool:
    return image.getexif().get(ORIENTATION) in (5, 6, 7, 8)
