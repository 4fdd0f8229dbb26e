"""The kind of a file, from its first bytes, and never from its sender's claims."""

import codecs
from collections.abc import Iterable
from urllib.parse import urlsplit

from shared.frozen import dataclass
from shared.storage.addresses import is_media
from shared.storage.containers import holds_sound_only
from shared.storage.signatures import LATE_SIGNATURES, SIGNATURES, SVG, TEXT_SIGNATURES, Signature

ENOUGH = 65_536  # bytes; the list of tracks may come behind a picture or a long index
FILETYPE_READS = 8192  # bytes
PAGE_READS = 1024  # bytes
# Of files that are markup; all others that a model makes are not.
MARKUP_NAMES = (".html", ".htm", ".xhtml", ".xml", ".svg", ".txt", ".md", ".dae", ".x3d", ".kml", ".gpx", ".ttml",
                ".musicxml", ".rss", ".atom", ".dfxp")  # fmt: skip
TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")
# Names that browsers know better than filetype's.
USUAL = {"audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac", "audio/x-aiff": "audio/aiff"}
# May run scripts if a browser opens it, so it is served as an attachment. In <img> it stays a picture.
ATTACHED = ("image/svg+xml",)


@dataclass(frozen=True)
class Kind:
    """The content type that a file is served with, and the extension of its key, without the dot."""

    content_type: str
    extension: str


UNKNOWN = Kind("application/octet-stream", "bin")
JSON = Kind("application/json", "json")
# HTML counts as text: with its own type, its scripts would run on the storage's domain.
TEXT = Kind("text/plain; charset=utf-8", "txt")
# The types of containers that hold sound only, by their types as films. QuickTime's own has no name.
SOUNDS = {
    "video/mp4": Kind("audio/mp4", "m4a"), "video/x-m4v": Kind("audio/mp4", "m4a"),
    "video/quicktime": Kind("audio/mp4", "m4a"), "video/3gpp": Kind("audio/3gpp", "3ga"),
    "video/webm": Kind("audio/webm", "weba"), "video/x-matroska": Kind("audio/x-matroska", "mka"),
    "video/x-ms-wmv": Kind("audio/x-ms-wma", "wma"), "video/ogg": Kind("audio/ogg", "ogg"),
}  # fmt: skip
FILMS = {
    "audio/mp4": "video/mp4", "audio/3gpp": "video/3gpp", "audio/webm": "video/webm",
    "audio/x-matroska": "video/x-matroska", "audio/x-ms-wma": "video/x-ms-wmv", "audio/ogg": "video/ogg",
}  # fmt: skip


def kind_of(first: bytes) -> Kind:
    """Returns the kind of a file with these first bytes; fewer than ENOUGH of a longer file may show too little."""
    kind = _signed(first, SIGNATURES) or _guessed(first) or _signed(first, LATE_SIGNATURES)
    if kind is None:
        return _kind_of_text(first[:FILETYPE_READS]) or UNKNOWN
    if kind.content_type in SOUNDS and holds_sound_only(first):  # mutant: sound only
        return SOUNDS[kind.content_type]
    return kind


def is_error_page(first: bytes, url: str) -> bool:
    """Whether these first bytes are a page of HTML or XML, where the URL names no such file.

    Storages and their caches answer so in place of a file, now and then with status 200. What has no name that says
    otherwise is a page only if it is surely one.
    """
    begin = first[:PAGE_READS].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    if not begin.startswith((b"<!doctype", b"<html", b"<?xml", b"<error", b"<head", b"<!--")) or SVG.match(first):
        return False
    name = urlsplit(url).path.rpartition("/")[2].lower()
    if name.endswith(MARKUP_NAMES):
        return False
    return is_media(url) or b"<html" in begin or b"<error" in begin


def content_type_of(key: str) -> str:
    """Returns a stored file's type by its key, for stores that keep no types."""
    import filetype

    extension = key.rpartition(".")[2]
    if extension in TYPES:
        return TYPES[extension]
    found = filetype.get_type(ext=extension)
    return USUAL.get(found.mime, found.mime) if found is not None else UNKNOWN.content_type


def examined_type(content_type: str, has_picture: bool | None) -> str:
    """Returns the type of a file after it was examined: a film's container may hold sound only, and a sound's a film.

    The first bytes do not always tell: the list of tracks may be at the end.
    """
    if has_picture is False and content_type in SOUNDS:
        return SOUNDS[content_type].content_type
    return FILMS.get(content_type, content_type) if has_picture else content_type


def _signed(first: bytes, signatures: Iterable[Signature]) -> Kind | None:
    return next((Kind(name, extension) for name, extension, matches in signatures if matches(first)), None)


def _guessed(first: bytes) -> Kind | None:
    import filetype

    found = filetype.guess(first[:FILETYPE_READS])
    return None if found is None else Kind(USUAL.get(found.mime, found.mime), found.extension)


def _kind_of_text(first: bytes) -> Kind | None:
    try:
        # The last character may be cut off.
        text = codecs.getincrementaldecoder("utf-8")().decode(first)
    except UnicodeDecodeError:
        return None
    if not text.strip() or any(byte < 32 and byte not in TEXT_CONTROLS for byte in first):
        return None
    if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")):
        return JSON
    return _signed(first, TEXT_SIGNATURES) or TEXT


TYPES = {extension: name for name, extension, _ in (*LATE_SIGNATURES, *SIGNATURES, *TEXT_SIGNATURES)} | {
    kind.extension: kind.content_type for kind in (JSON, TEXT, *SOUNDS.values())
}
