"""What a media file shows, as a child process found out and its parent believes."""

import json
import math
from dataclasses import dataclass
from typing import Literal, TypedDict, cast, get_args

from shared.json_value import Json

Word = Literal["unknown_type", "not_installed", "too_large_to_show", "unreadable", "timed_out", "killed", "failed"]
ThumbnailType = Literal["image/jpeg", "image/webp"]

MAX_SIDE = 512  # pixels of a thumbnail
MAX_THUMBNAIL = 2 * 1024 * 1024  # bytes
MAX_ANSWER = 4096  # bytes
MAX_NUMBER = 10**9


@dataclass(frozen=True)
class Media:
    """Width and height in pixels as displayed, duration in s, and a thumbnail: JPEG, or WebP of a see-through image.

    With ``error`` whatever is not known is None:

        unknown_type       neither an image nor a video nor sound
        not_installed      PyAV or Pillow is not there
        too_large_to_show  its dimensions would take too much memory
        unreadable         broken, cut off, empty, or not what its type says; or its decoder had too little memory and
                           did not say so, as some of films do
        timed_out, killed  the child took too long, or was ended: most likely for the memory it took
        failed             the child could not be started, or answered nonsense
    """

    width: int | None = None
    height: int | None = None
    duration: float | None = None
    thumbnail: bytes | None = None
    thumbnail_type: ThumbnailType | None = None
    error: Word | None = None


class Answer(TypedDict, total=False):
    """What the child prints as JSON: the fields of Media that it has found out, or why it has not."""

    width: int
    height: int
    duration: float | None
    thumbnail_type: ThumbnailType
    error: Word


def answer_of(printed: bytes) -> Media:
    """The child's answer, without a thumbnail's bytes. Raises ValueError: the child may be in the hands of its file."""
    try:
        answer: Json = json.loads(printed)
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(answer, dict) or answer.get("error") not in (None, *get_args(Word)):
        raise ValueError("no answer")
    if answer.get("thumbnail_type") not in (None, *get_args(ThumbnailType)):
        raise ValueError("no thumbnail's type")
    width, height, duration = (_number(answer.get(name)) for name in ("width", "height", "duration"))
    return Media(
        None if width is None else int(width),
        None if height is None else int(height),
        None if duration is None else float(duration),
        thumbnail_type=cast(ThumbnailType | None, answer.get("thumbnail_type")),
        error=cast(Word | None, answer.get("error")),
    )


def _number(value: Json) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("no number")
    if not math.isfinite(value) or not 0 <= value <= MAX_NUMBER:
        raise ValueError("out of range")
    return value
