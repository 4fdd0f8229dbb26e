"""The kind of a file, from its first bytes. The name that a sender gave it only tells models from other text."""

import codecs
import json
from collections.abc import Iterable

from shared.frozen import dataclass
from shared.storage.containers import holds_sound_only
from shared.storage.models import MODELS, model_of
from shared.storage.signatures import LATE_SIGNATURES, SIGNATURES, TEXT_SIGNATURES, Signature

ENOUGH = 65_536  # bytes; the list of tracks may come behind a picture or a long index
FILETYPE_READS = 8192  # bytes
MAX_CUT = 16  # characters of a word, a number or an escape that the end of what was read may cut
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


def kind_of(first: bytes, url: str = "") -> Kind:
    """Returns the kind of a file with these first bytes; fewer than ENOUGH of a longer file may show too little."""
    kind = _signed(first, SIGNATURES) or _guessed(first) or _signed(first, LATE_SIGNATURES)
    if kind is None:
        found = _kind_of_text(first)
        model = model_of(first, url, is_text=True) if found in (TEXT, JSON) else None
        model = model_of(first, url, is_text=False) if found is None else model
        return Kind(*model) if model else found or UNKNOWN
    if kind.content_type in SOUNDS and holds_sound_only(first):  # mutant: sound only
        return SOUNDS[kind.content_type]
    return kind


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
    read = first[:FILETYPE_READS]
    try:
        # The last character may be cut off.
        text = codecs.getincrementaldecoder("utf-8")().decode(read)
    except UnicodeDecodeError:
        return None
    if not text.strip() or any(byte < 32 and byte not in TEXT_CONTROLS for byte in read):
        return None
    if _is_json(text, is_whole=len(first) <= FILETYPE_READS):
        return JSON
    return _signed(read, TEXT_SIGNATURES) or TEXT


def _is_json(text: str, *, is_whole: bool) -> bool:
    """Whether the text is a JSON object or array, or begins one as far as it shows."""
    text = text.lstrip("\ufeff \t\r\n")
    if not text.startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        # A cut leaves a string open, or a word, a number or an escape at the end.
        is_cut = error.msg.startswith("Unterminated string") or error.pos >= len(text) - MAX_CUT
        return is_cut and not is_whole
    except RecursionError:
        return False
    return True


TYPES = (
    {extension: name for name, extension, _ in (*LATE_SIGNATURES, *SIGNATURES, *TEXT_SIGNATURES)}
    | {extension: name for extension, (name, _) in MODELS.items()}
    | {kind.extension: kind.content_type for kind in (JSON, TEXT, *SOUNDS.values())}
)
