"""The result of a completed job, and the URL that its owner is redirected to."""

import json
from collections.abc import Collection
from typing import TypeGuard
from urllib.parse import urlsplit

from shared.addresses import LOOPBACK, is_public_name
from shared.documents.job import JobDocument
from shared.errors import NoSuchFile, NotCompleted, NotCompletedYet
from shared.frozen import dataclass
from shared.jobs.status import StatusView
from shared.json_value import Json
from shared.storage.links import ROUTE

MAX_URL = 2000  # characters that go into a header
MAX_FROM = 10**9 - 1  # far beyond the last character of any output
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


def result_of(view: StatusView, number: int | None = None, *, allow_loopback: bool = False) -> Result:
    """Returns the result of the job in the view, or its file with this number, from 0.

    A stored copy's URL has replaced the provider's in the view. ``allow_loopback`` is for development: the URL may also
    lead to this machine. Raises NotCompleted or NoSuchFile.
    """
    document: JobDocument = json.loads(view.body)
    if document["status"] != "completed":
        raise NotCompleted if view.is_final else NotCompletedYet
    output, files = document["output"], document["files"]
    stored = {file["url"] for file in files if file["state"] == "stored"}
    if number is not None:
        url = files[number]["url"] if number < len(files) else None
        if not _may_lead_to(url, stored, allow_loopback):
            raise NoSuchFile
        return Result(output, url)
    candidates = output if isinstance(output, list) else [output]
    return Result(output, next((text for text in candidates if _may_lead_to(text, stored, allow_loopback)), None))


def _may_lead_to(value: object, stored: Collection[str | None], allow_loopback: bool) -> TypeGuard[str]:
    """Whether a redirect may lead to it: to a copy of this deployment, or to a public name by https.

    A provider's output may say anything. A browser that follows it must not reach a router or a neighbour.
    """
    if not isinstance(value, str) or len(value) > MAX_URL or not value.isascii() or not value.isprintable():
        return False
    if value in stored:
        return value.startswith((ROUTE, "https://", "http://")) and " " not in value
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    if " " in value or "\\" in value or "@" in parts.netloc:
        return False
    if allow_loopback and host in LOOPBACK and parts.scheme in ("https", "http"):
        return True
    # mutant: result redirect
    return parts.scheme == "https" and port in (None, 443) and is_public_name(host)
