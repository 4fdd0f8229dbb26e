"""The files of a job's result: found in a provider's output, and recorded with the job."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Literal, NotRequired, TypedDict
from urllib.parse import urlsplit

from shared.config.hosting import is_loopback
from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.json_value import Json

MAX_FILES = 50  # of one job that are copied
MAX_LISTED = 200  # of one job
MAX_URL = 4000
MAX_DEPTH = 20  # levels of an output that are searched
# What models make; a page or an archive that an output refers to is no result that was lost.
MEDIA_PATH = re.compile(
    r".*\.(?:mp4|m4v|mov|webm|mkv|avi|gif|png|jpe?g|webp|avif|bmp|tiff?|heic|svg|mp3|wav|flac|ogg|opus|m4a|aac"
    r"|glb|gltf|obj|ply|usdz|stl|fbx|safetensors)",
    re.IGNORECASE | re.DOTALL,
)

# pending: a copy is under way or will be tried again; expired: the provider deleted the file before it was copied
# foreign_host: the output has URLs of media, and none of them leads to a host that files are copied from
FileState = Literal["pending", "stored", "expired", "failed", "foreign_host"]
CopyError = Literal[
    "source_gone", "source_unavailable", "too_large", "empty", "storage_unavailable", "address_refused", "redirected"
]
FileError = CopyError | Literal["url_too_long", "too_many", "not_copied_in_time"]
MediaError = Literal[
    "unknown_type",
    "not_installed",
    "too_large_to_show",
    "unreadable",
    "timed_out",
    "killed",
    "failed",
    "skipped",
    "out_of_time",
    "storage_unavailable",
]


class File(TypedDict):
    """A file of a result, as a job's ``files`` field holds it in JSON; ``read_files`` and ``write_files`` translate.

    A stored file has ``key``, ``size`` (bytes), ``type`` and ``sha256``. A media file also has ``width`` and ``height``
    (pixels) and ``duration`` (s). ``thumbnail`` is the key of its thumbnail; ``media_error`` says why it has none.
    """

    url: str  # the provider's
    state: FileState
    error: NotRequired[FileError]  # why it has no copy, or why the last try failed
    tries: NotRequired[int]  # how many turns have begun its copy and recorded it
    gone: NotRequired[int]  # how many of these the provider answered with 410
    key: NotRequired[str]
    size: NotRequired[int]
    type: NotRequired[str]
    sha256: NotRequired[str]
    width: NotRequired[int]
    height: NotRequired[int]
    duration: NotRequired[float]
    thumbnail: NotRequired[str]
    media_error: NotRequired[MediaError]


def files_in(output: Json, provider: str, settings: Settings) -> list[File]:
    """Returns a file for each distinct URL in the output that leads to the provider's hosts, at most MAX_LISTED.

    Files to copy are pending. A file with a URL that is too long has failed, and so have those beyond MAX_FILES. If no
    URL leads to these hosts, the files are those of other hosts that look like media; they are not copied.
    """
    hosts = hosts_of(provider, settings)
    found = dict.fromkeys(url for url in _texts(output) if is_of(url, hosts, settings))
    if not found:
        return _foreign(output)
    files: list[File] = []
    pending = 0
    for url in list(found)[:MAX_LISTED]:
        if len(url) > MAX_URL:
            files.append({"url": url, "state": "failed", "error": "url_too_long"})
        elif pending == MAX_FILES:
            files.append({"url": url, "state": "failed", "error": "too_many"})
        else:
            pending += 1
            files.append({"url": url, "state": "pending"})
    return files


def _foreign(output: Json) -> list[File]:
    """Returns the media in an output that are of no known host: a provider may have a new one."""
    found = dict.fromkeys(url for url in _texts(output) if len(url) <= MAX_URL and _is_media(url))
    return [{"url": url, "state": "foreign_host"} for url in list(found)[:MAX_LISTED]]


def _is_media(url: str) -> bool:
    if not url.startswith(("https://", "http://")):
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return bool(parts.netloc) and MEDIA_PATH.fullmatch(parts.path) is not None


def hosts_of(provider: str, settings: Settings) -> tuple[str, ...]:
    """Returns the hosts of a provider's files: its own, and those that RESULT_HOSTS adds."""
    added = (host.strip() for host in settings.result_hosts.split(","))
    return (*REGISTRY[NUMBERS[provider]].file_hosts, *filter(None, added))


def is_of(url: str, hosts: tuple[str, ...], settings: Settings) -> bool:
    """Whether a URL leads to one of the hosts or their subdomains, or to this machine if that is allowed."""
    if not url.startswith(("https://", "http://")):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if settings.allow_loopback and is_loopback(url):
        return True
    return parts.scheme == "https" and any(host == known or host.endswith(f".{known}") for known in hosts)


def read_files(text: str | None) -> list[File]:
    """Reads the files from a job's field."""
    files: list[File] = json.loads(text) if text else []
    return files


def write_files(files: Sequence[File]) -> str:
    """Writes the files for a job's field."""
    return json.dumps(files, separators=(",", ":"))


def gone_before(settings: Settings, now: int) -> int:
    """Returns the time (ms) up to which jobs' copies are no longer kept at ``now``; 0 if all are kept."""
    return max(0, now - settings.storage_retention * 1000) if settings.storage_retention else 0


def _texts(value: Json, depth: int = MAX_DEPTH) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict) and depth:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item, depth - 1)
