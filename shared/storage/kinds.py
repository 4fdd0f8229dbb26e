"""The kind of a file, from its first bytes, and never from its sender's claims."""

import codecs
from dataclasses import dataclass

ENOUGH = 8192  # bytes; filetype looks no further
TEXT_CONTROLS = frozenset(b"\t\n\r\f\x1b")
# Names that browsers know better than filetype's.
USUAL = {"audio/x-wav": "audio/wav", "audio/x-flac": "audio/flac", "audio/x-aiff": "audio/aiff"}


@dataclass(frozen=True)
class Kind:
    """The content type that a file is served with, and the extension of its key, without the dot."""

    content_type: str
    extension: str


UNKNOWN = Kind("application/octet-stream", "bin")
JSON = Kind("application/json", "json")
# HTML and SVG count as text: with their own types, their scripts would run on the storage's domain.
TEXT = Kind("text/plain; charset=utf-8", "txt")


def kind_of(first: bytes) -> Kind:
    """Returns the kind of a file with these first bytes; more than ENOUGH do not help."""
    import filetype

    found = filetype.guess(first[:ENOUGH])
    if found is not None:
        return Kind(USUAL.get(found.mime, found.mime), found.extension)
    return _kind_of_text(first[:ENOUGH]) or UNKNOWN


def content_type_of(key: str) -> str:
    """Returns a stored file's type by its key, for stores that keep no types."""
    import filetype

    extension = key.rpartition(".")[2]
    for kind in (JSON, TEXT):
        if kind.extension == extension:
            return kind.content_type
    found = filetype.get_type(ext=extension)
    return USUAL.get(found.mime, found.mime) if found is not None else UNKNOWN.content_type


def _kind_of_text(first: bytes) -> Kind | None:
    try:
        # The last character may be cut off.
        text = codecs.getincrementaldecoder("utf-8")().decode(first)
    except UnicodeDecodeError:
        return None
    if not text.strip() or any(byte < 32 and byte not in TEXT_CONTROLS for byte in first):
        return None
    return JSON if text.lstrip("\ufeff \t\r\n").startswith(("{", "[")) else TEXT
