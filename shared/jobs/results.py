"""What a completed job brought, as its owner is sent to it."""

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
MAX_FILE = 10**6  # the largest number that is read; which files there are is the job's to say


@dataclass(frozen=True)
class Result:
    """The output, and the address that it is or whose list it begins, if any."""

    output: Json
    url: str | None

    @property
    def body(self) -> bytes:
        """The output as a JSON document; ASCII, since a provider's text may hold what UTF-8 cannot carry."""
        return json.dumps({"output": self.output}, separators=(",", ":")).encode()


def result_of(view: StatusView, number: int | None = None) -> Result:
    """The result of the job in the view, or its file with this number, from 0. Raises NotCompleted or NoSuchFile.

    What the output begins with is our own copy where there is one: the view has put it there.
    """
    document: JobDocument = json.loads(view.body)
    if document["status"] != "completed":
        raise NotCompleted if view.is_final else NotCompletedYet
    output, files = document["output"], document["files"]
    ours = {file["url"] for file in files if file["state"] == "stored"}
    if number is not None:
        url = files[number]["url"] if number < len(files) else None
        if not _is_url(url, ours):
            raise NoSuchFile
        return Result(output, url)
    candidates = output if isinstance(output, list) else [output]
    return Result(output, next((text for text in candidates if _is_url(text, ours)), None))


def _is_url(value: object, ours: Collection[str | None]) -> TypeGuard[str]:
    """Whether it can be redirected to: a URL, or the path of a copy in this deployment's own route."""
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isascii() or not value.isprintable():
        return False
    if value.startswith(ROUTE):
        return value in ours
    try:
        parts = urlsplit(value)
    except ValueError:
        return False
    return parts.scheme in ("https", "http") and bool(parts.netloc) and " " not in value
