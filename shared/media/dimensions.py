"""The largest images that are decoded, in a child that has the MEMORY of child.py."""

MAX_PIXELS = 25_000_000  # 100 MB decoded; 5K video has 15 million
# Their decoders hold two canvases and another copy: 16 bytes per pixel in all. 4K video has 8 million pixels.
MAX_PIXELS_BY_KIND = {"WEBP": 12_000_000, "AVIF": 12_000_000}
MAX_SIDE = 32_768  # pixels of the longer side


class TooLarge(Exception):
    """Decoding it would take more memory than a thumbnail is worth."""


def check(width: int, height: int, kind: str = "") -> tuple[int, int]:
    """Returns the dimensions if such an image may be decoded; raises TooLarge, or ValueError for an empty one.

    ``kind`` is Pillow's name of the format, '' for a film.
    """
    if width <= 0 or height <= 0:
        raise ValueError("no picture")
    if width * height > MAX_PIXELS_BY_KIND.get(kind, MAX_PIXELS) or max(width, height) > MAX_SIDE:
        raise TooLarge
    return width, height
