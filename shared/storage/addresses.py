"""The URLs in a text: one that is the whole text, and those inside JSON, Markdown and prose.

A file is found and later replaced by the same reading, so a text changes exactly where a file was found.
"""

import functools
import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from shared.frozen import dataclass
from shared.json_value import Json

MAX_DEPTH = 20  # levels of an output that are searched
# Patterns are compiled at their first use: that takes 10 ms, for which most starts of a function need not wait.
# What models make. A page or an archive that a text refers to is no result.
MEDIA_PATH = (
    r"(?is).*\.(?:mp4|m4v|mov|webm|mkv|avi|gif|png|jpe?g|webp|avif|bmp|tiff?|heic|svg|mp3|wav|flac|ogg|opus|m4a|aac"
    r"|glb|gltf|obj|ply|usdz|stl|fbx|safetensors)"
)
# JSON may write a slash as \/, and the signs of a query as \u0026 and the like. Quotation marks, brackets and the
# punctuation of Chinese and Japanese end a URL.
ENDS = (
    r"\s\"'<>`\\{}|^\u00ab\u00bb\u2018\u2019\u201c\u201d"
    r"\u3000-\u303f\uff00-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65"
)
# An apostrophe between letters is a part of a name.
INSIDE = (
    rf"(?i:https?):(?:\\?/){{2}}(?:[^,;{ENDS}]++|(?<=[a-zA-Z0-9])'(?=[a-zA-Z0-9])|[,;]++(?!(?i:https?):)"
    r"|\\/|\\u00(?:26|2[bB]|3[dD]))++"
)
NEXT = r"(?i)[,;]https?:"
MAX_BRACKETED = 10_000  # characters; a longer URL is no file's, so its brackets are not counted
# RFC 2397. As a part of a text, only what base64 can hold is sure to belong to it.
DATA = r"(?i:data):[a-zA-Z0-9.+-]{1,99}/[a-zA-Z0-9.+-]{1,99}(?:;[a-zA-Z0-9-]{1,99}(?:=[^;,\"\s]{0,99})?){0,9},"
DATA_INSIDE = (
    r"(?i:data):[a-zA-Z0-9.+-]{1,99}\\?/[a-zA-Z0-9.+-]{1,99};(?i:base64),"
    r"[A-Za-z0-9+/=_-]++(?:(?:\\/|\\u002[bB])[A-Za-z0-9+/=_-]*+)*+"
)
WRITTEN = (("\\/", "/"), ("\\u0026", "&"), ("\\u002b", "+"), ("\\u002B", "+"), ("\\u003d", "="), ("\\u003D", "="),
           ("&amp;", "&"))  # fmt: skip
TRAILING = ".,;:!?*_~"
PAIRS = {")": "(", "]": "["}


@dataclass(frozen=True)
class Address:
    """A URL, and where the text has it."""

    start: int
    end: int
    url: str


def addresses_in(text: str) -> list[Address]:
    """Returns the http, https and data URLs in a text, in their order; they do not overlap.

    Their schemes are in small letters, as the text may not have them.
    """
    whole = text.strip()
    start = text.find(whole)
    if _is_one_url(whole) or (whole[:5].lower() == "data:" and _pattern(DATA).match(whole)):
        return [Address(start, start + len(whole), _with_small_scheme(whole))]
    found = []
    if "://" in text or ":\\/\\/" in text:
        found += [_address(match.start(), match.group()) for match in _pattern(INSIDE).finditer(text)]
    if has_data(text):
        found += [
            Address(match.start(), match.end(), _unwritten(match.group()))
            for match in _pattern(DATA_INSIDE).finditer(text)
        ]
    found.sort(key=lambda address: address.start)
    # A URL may have a data URI among its parameters.
    return [address for n, address in enumerate(found) if n == 0 or address.start >= found[n - 1].end]


def has_data(text: str) -> bool:
    """Whether a text may have a ``data:`` URI."""
    return "data:" in text or _pattern("(?i)data:").search(text) is not None


def replaced(text: str, by: Callable[[str], str | None]) -> str:
    """Returns the text with other URLs; those for which ``by`` returns None stay."""
    parts, at = [], 0
    for address in addresses_in(text):
        new = by(address.url)
        if new is not None:
            parts += [text[at : address.start], new]
            at = address.end
    return "".join([*parts, text[at:]]) if parts else text


def texts_in(value: Json, depth: int = MAX_DEPTH) -> Iterator[str]:
    """Yields each text of a value, except for names of members, and for those nested deeper."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict) and depth:
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts_in(item, depth - 1)


def changed_in(value: Json, change: Callable[[str], Json], depth: int = MAX_DEPTH) -> Json:
    """Returns the value with the change of each text that ``texts_in`` yields."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list) and depth:
        return [changed_in(item, change, depth - 1) for item in value]
    if isinstance(value, dict) and depth:
        return {name: changed_in(item, change, depth - 1) for name, item in value.items()}
    return value


def is_media(url: str) -> bool:
    """Whether the path of a URL ends as that of a picture, film, sound or model does."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.netloc) and _pattern(MEDIA_PATH).fullmatch(parts.path) is not None


def extension_of(url: str) -> str:
    """Returns the extension of the name at the end of a URL's path, in lower case and without the dot; '' for none."""
    try:
        name = urlsplit(url).path.rpartition("/")[2]
    except ValueError:
        return ""
    return name.rpartition(".")[2].lower() if "." in name else ""


@functools.cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text)


def _is_one_url(text: str) -> bool:
    """Whether the text is one URL. One with spaces is, if only its end is that of a media file."""
    if not text[:8].lower().startswith(("https://", "http://")) or _pattern(NEXT).search(text):
        return False
    words = text.split()
    if len(words) == 1:
        return True
    return "\n" not in text and text.count("://") == 1 and is_media(text) and not is_media(words[0])


def _address(start: int, written: str) -> Address:
    """Returns a URL inside a text without what follows it: punctuation, and a bracket that it did not open."""
    url = written[: _end_of(written)].rstrip(TRAILING)
    return Address(start, start + len(url), _unwritten(url))


def _end_of(written: str) -> int:
    """Returns where the first bracket is that closes what was opened before the URL; else the end."""
    opened = {"(": 0, "[": 0}
    for at, sign in enumerate(written) if len(written) <= MAX_BRACKETED else ():
        if sign in opened:
            opened[sign] += 1
        elif sign in PAIRS:
            opened[PAIRS[sign]] -= 1
            if opened[PAIRS[sign]] < 0:
                return at
    return len(written)


def _unwritten(url: str) -> str:
    for written, sign in WRITTEN:
        url = url.replace(written, sign)
    return _with_small_scheme(url)


def _with_small_scheme(url: str) -> str:
    scheme = url[: url.find(":")]
    return url if scheme.islower() else scheme.lower() + url[len(scheme) :]  # a data URI may be long
