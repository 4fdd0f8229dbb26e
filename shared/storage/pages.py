"""Pages that say an error in place of a file: storages and their caches send them, now and then with status 200."""

import codecs
import zlib

from shared.storage.addresses import extension_of, is_media
from shared.storage.kinds import ENOUGH, JSON, TEXT, kind_of
from shared.storage.signatures import SVG

READS = 1024  # bytes
GZIP = 31  # zlib: a gzip header, and the largest window
# Of files that are markup; all others that a model makes are not.
MARKUP_NAMES = ("html", "htm", "xhtml", "xml", "txt", "md", "dae", "x3d", "kml", "gpx", "ttml", "musicxml", "rss",
                "atom", "dfxp")  # fmt: skip


def is_error_page(first: bytes, url: str) -> bool:
    """Whether a file with these first bytes is a page or a sentence, where the URL names another kind of file.

    What has no name that says otherwise is a page only if it is surely one.
    """
    first = _unpacked(first, url)
    begin = first[:READS].removeprefix(codecs.BOM_UTF8).lstrip().lower()
    extension = extension_of(url)
    if extension in MARKUP_NAMES:
        return False
    if extension == "svg":
        # A DTD of its own may come before the root element, so this looks further than SVG does.
        return begin.startswith((b"<!doctype html", b"<html")) or not (b"<svg" in first or b":svg" in first)
    if SVG.match(first):
        return False
    if is_media(url) and kind_of(first, url) in (TEXT, JSON):
        return True
    is_markup = begin.startswith((b"<!doctype", b"<html", b"<?xml", b"<error", b"<head", b"<!--"))
    return is_markup and (is_media(url) or b"<html" in begin or b"<error" in begin)


def _unpacked(first: bytes, url: str) -> bytes:
    """Returns what a gzip file begins with, in the place of a file that is not packed."""
    if not (first.startswith(b"\x1f\x8b") and is_media(url)):
        return first
    try:
        return zlib.decompressobj(GZIP).decompress(first, ENOUGH)
    except zlib.error:
        return first
