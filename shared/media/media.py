"""The findings about a media file, as the child prints them and as its parent checks them."""

import json
import math
from typing import Literal, TypedDict, cast, get_args

from shared.frozen import dataclass
from shared.json_value import Json

Word = Literal["unknown_type", "not_installed", "too_large_to_show", "unreadable", "timed_out", "killed", "failed"]
ThumbnailType = Literal["image/jpeg", "image/webp"]

MAX_THUMBNAIL_SIDE = 512  # pixels of its longer side
MAX_THUMBNAIL = 2 * 1024 * 1024  # bytes
MAX_ANSWER = 4096  # bytes
MAX_NUMBER = 10**9


@dataclass(frozen=True)
class Media:
    """Width and height in pixels as displayed, duration in s, and a thumbnail: JPEG, or WebP of a see-through image.

    ``has_picture`` says of a film's or a sound's file whether it shows anything: its type may claim something else.
    With an ``error``, unknown values are None:

        unknown_type       neither an image nor a video nor sound that can be decoded
        not_installed      PyAV or Pillow is not installed
        too_large_to_show  its dimensions would take too much memory
        unreadable         broken, cut off, empty, or of another type than it claims; or a decoder ran out of memory
                           without saying so, as some film decoders do
        timed_out          the child took too long
        killed             the child was killed, most likely because it took too much memory
        failed             the child could not be started, or its answer was invalid
    """

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    thumbnail: bytes | None = None
    thumbnail_type: ThumbnailType | None = None
    has_picture: bool | None = None
    error: Word | None = None


class Answer(TypedDict, total=False):
    """The child's JSON: the fields of Media that it found, or an error."""

    width: int
    height: int
    duration: float | None
    thumbnail_type: ThumbnailType
    has_picture: bool
    error: Word


def answer_of(printed: bytes) -> Media:
    """Returns the child's answer, without a thumbnail's bytes.

    Raises ValueError for an invalid one: a malicious file may have taken over the child.
    """
    try:
        answer: Json = json.loads(printed)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(answer, dict) or answer.get("error") not in (None, *get_args(Word)):
        raise ValueError("no answer")
    if answer.get("thumbnail_type") not in (None, *get_args(ThumbnailType)):
        raise ValueError("not a thumbnail's type")
    if answer.get("has_picture") not in (None, True, False):
        raise ValueError("not a truth")
    width, height, duration = (_number(answer.get(name)) for name in ("width", "height", "duration"))
    return Media(
        None if width is None else int(width),
        None if height is None else int(height),
        None if duration is None else float(duration),
        thumbnail_type=cast(ThumbnailType | None, answer.get("thumbnail_type")),
        has_picture=cast(bool | None, answer.get("has_picture")),
        error=cast(Word | None, answer.get("error")),
    )


def _number(value: Json) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")
    if not math.isfinite(value) or not 0 <= value <= MAX_NUMBER:
        raise ValueError("out of range")
    return value
