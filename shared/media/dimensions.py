"""How large an image may be to be decoded."""

MOST_PIXELS = 70_000_000  # 280 MB decoded; 8K video has 33 million
MOST_WIDE = 32_768  # pixels of the longer side


class TooLarge(Exception):
    """Decoding it would take more memory than a thumbnail is worth."""


def check(width: int, height: int) -> tuple[int, int]:
    """The dimensions, if an image of them may be decoded; raises TooLarge, or ValueError for none."""
    if width <= 0 or height <= 0:
        raise ValueError("no picture")
    if width * height > MOST_PIXELS or max(width, height) > MOST_WIDE:
        raise TooLarge
    return width, height
