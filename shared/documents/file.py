"""The files of a result as their owner sees them, and the output with the copies' URLs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NotRequired, TypedDict

from shared.json_value import Json, read_json
from shared.log import log
from shared.storage.addresses import changed_in, replaced
from shared.storage.files import File, FileError, FileState, MediaError

UrlOf = Callable[[str], str]  # returns the URL of the file with this key


class FileDocument(TypedDict):
    """One file. ``url`` leads to the stored copy, before that to the provider; it is null after the deletion."""

    state: FileState | Literal["deleted"]
    url: str | None
    size: int | None  # bytes
    content_type: str | None
    sha256: str | None
    width: int | None  # pixels
    height: int | None
    duration: float | None  # s
    thumbnail_url: str | None
    error: FileError | None
    media_error: MediaError | None


class ResultDocument(TypedDict):
    """A model's output, and each file in it."""

    output: Json
    output_link: NotRequired[str]  # in place of an output for which the platform's answer has no room
    files: list[FileDocument]


def result_document(output: str | None, files: Sequence[File], url_of: UrlOf, *, is_kept: bool) -> ResultDocument:
    """Returns the output (JSON text) with the copies' URLs in it, and the state of each file.

    Without ``is_kept``, STORAGE_RETENTION has dropped the copies.
    """
    found = _read(output)
    # The provider deletes its file long before the copy is dropped, so then no URL is left.
    copies = {file["url"]: url_of(file["key"]) if is_kept else None for file in files if "key" in file}
    return {
        "output": changed_in(found, lambda text: _replaced(text, copies)) if copies else found,
        "files": [_file_document(file, url_of, is_deleted=not is_kept and "key" in file) for file in files],
    }


def _read(output: str | None) -> Json:
    """Returns the stored output; null for one nested too deep for an answer, which an earlier release has stored."""
    try:
        return read_json(output) if output else None
    except ValueError:
        log.error("output_unreadable")
        return None


def _file_document(file: File, url_of: UrlOf, *, is_deleted: bool) -> FileDocument:
    thumbnail = None if is_deleted else file.get("thumbnail")
    url = url_of(file["key"]) if "key" in file else file["url"]
    return {
        "state": "deleted" if is_deleted else file["state"],
        "url": None if is_deleted else url,
        "size": file.get("size"),
        "content_type": file.get("type"),
        "sha256": file.get("sha256"),
        "width": file.get("width"),
        "height": file.get("height"),
        "duration": file.get("duration"),
        "thumbnail_url": url_of(thumbnail) if thumbnail else None,
        "error": file.get("error"),
        "media_error": file.get("media_error"),
    }


def _replaced(text: str, copies: Mapping[str, str | None]) -> Json:
    """Returns a text with the copies' URLs; null for one that is the URL of a copy that is gone."""
    whole = text.strip()
    return copies[whole] if whole in copies else replaced(text, copies.get)
