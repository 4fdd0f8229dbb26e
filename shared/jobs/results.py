"""The result of a completed job, and the URL that its owner is redirected to."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import TypeGuard
from urllib.parse import urlsplit

from shared.documents.job import JobDocument
from shared.errors import NoSuchFile, NotCompleted, NotCompletedYet
from shared.jobs.status import StatusView
from shared.json_value import Json
from shared.storage.links import ROUTE

MAX_URL = 2000  # characters that go into a header
MAX_FILE = 10**6  # the largest number that is read; no job has so many files


@dataclass(frozen=True)
class Result:
    """The output, and its URL if the output is a URL or a list with one."""

    output: Json
    url: str | None

    @property
    def body(self) -> bytes:
        """The output as a JSON document; in ASCII, because a provider's text may hold lone surrogates."""
        return json.dumps({"output": self.output}, separators=(",", ":")).encode()


def result_of(view: StatusView, number: int | None = None) -> Result:
    """Returns the result of the job in the view, or its file with this number, from 0.

    A stored copy's URL has replaced the provider's in the view. Raises NotCompleted or NoSuchFile.
    """
    document: JobDocument = json.loads(view.body)
    if document["status"] != "completed":
        raise NotCompleted if view.is_final else NotCompletedYet
    output, files = document["output"], document["files"]
    stored = {file["url"] for file in files if file["state"] == "stored"}
    if number is not None:
        url = files[number]["url"] if number < len(files) else None
        if not _is_url(url, stored):
            raise NoSuchFile
        return Result(output, url)
    candidates = output if isinstance(output, list) else [output]
    return Result(output, next((text for text in candidates if _is_url(text, stored)), None))


def _is_url(value: object, stored: Collection[str | None]) -> TypeGuard[str]:
    """Whether a redirect may lead to it: a URL, or the path of a copy in this deployment's file route."""
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isascii() or not value.isprintable():
        return False
    if value.startswith(ROUTE):
        return value in stored
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.netloc) and " " not in value
