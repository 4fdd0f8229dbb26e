"""What is true of a small file that a test has made, and the picture that it shows."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from PIL import Image

LEFT, RIGHT = (200, 60, 30), (30, 90, 180)  # the halves of the picture
SIZE = (64, 48)


@dataclass(frozen=True)
class Sample:
    """A file, its type, extension, dimensions, duration (s) and the colours of its thumbnail's halves."""

    name: str
    made: bytes | Callable[[], bytes]
    content_type: str
    extension: str
    size: tuple[int, int] | None = None
    duration: float | None = None
    colours: tuple[tuple[int, int, int], tuple[int, int, int]] | None = (LEFT, RIGHT)
    first_type: str = ""  # what its beginning shows, if it does not show all
    is_on_its_side: bool = False  # the halves are one above the other

    @functools.cached_property
    def content(self) -> bytes:
        return self.made if isinstance(self.made, bytes) else self.made()


def halves(size: tuple[int, int] = SIZE, left: Any = LEFT, right: Any = RIGHT, mode: str = "RGB") -> Image.Image:
    picture = Image.new(mode, size, left)
    picture.paste(right, (size[0] // 2, 0, *size))
    return picture
