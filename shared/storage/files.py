"""The files of a job's result: found in a provider's output, and recorded with the job."""

import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Literal, NotRequired, TypedDict
from urllib.parse import urlsplit

from shared.config.addresses import is_loopback_url
from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings
from shared.frozen import dataclass
from shared.json_value import Json
from shared.log import log
from shared.storage.addresses import addresses_in, has_data, is_media, texts_in

MAX_FILES = 50  # of one job that are copied
MAX_LISTED = 1000  # of one job
MAX_LISTED_TEXT = 800_000  # characters of their URLs
MAX_URL = 4000

# pending: a copy is under way or will be tried again; expired: the provider deleted the file before it was copied
# foreign_host: the output has URLs of media, and none of them leads to a host that files are copied from
FileState = Literal["pending", "stored", "expired", "failed", "foreign_host"]
CopyError = Literal[
    "source_gone",
    "source_unavailable",
    "error_page",
    "too_large",
    "empty",
    "storage_unavailable",
    "unresolved",
    "address_refused",
    "redirected",
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

    A stored file has ``key``, ``size`` (bytes), ``type`` and ``sha256``; so has a pending one that was in the output
    itself, and is still to be examined. A media file also has ``width`` and ``height``
    (pixels) and ``duration`` (s). ``thumbnail`` is the key of its thumbnail; ``media_error`` says why it has none.
    """

    url: str  # the provider's, or what stands in the output for a file that was inside it
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


@dataclass(frozen=True)
class Staged:
    """An output without the files that it held itself, and these files by what stands for them."""

    output: Json
    files: dict[str, File]


def data_uris_in(output: Json) -> list[str]:
    """Returns the distinct ``data:`` URIs in an output, at most MAX_FILES; the others stay in it."""
    found = (address.url for text in texts_in(output) if has_data(text) for address in addresses_in(text))
    return list(dict.fromkeys(url for url in found if url.startswith("data:")))[:MAX_FILES]


def files_in(output: Json, provider: str, settings: Settings, staged: Mapping[str, File] | None = None) -> list[File]:
    """Returns a file for each distinct URL in the output that leads to the provider's hosts, at most MAX_LISTED.

    Files to copy are pending. A file with a URL that is too long has failed, and so have those beyond MAX_FILES. Those
    that were ``staged`` have their copy already. If no URL leads to these hosts, the files are those of other hosts
    that look like media; they are not copied.
    """
    hosts, ready = hosts_of(provider, settings), staged or {}
    urls = dict.fromkeys(address.url for text in texts_in(output) for address in addresses_in(text))
    found = [url for url in urls if url in ready or is_of(url, hosts, settings)]
    if not found:
        return [{"url": url, "state": "foreign_host"} for url in _listed([u for u in urls if _is_foreign_media(u)])]
    files: list[File] = []
    pending = 0
    for url in _listed(found):
        if url in ready:
            files.append(ready[url])
        elif len(url) > MAX_URL:
            files.append({"url": url, "state": "failed", "error": "url_too_long"})
        elif pending + len(ready) >= MAX_FILES:
            files.append({"url": url, "state": "failed", "error": "too_many"})
        else:
            pending += 1
            files.append({"url": url, "state": "pending"})
    return files


def _listed(urls: Sequence[str]) -> Sequence[str]:
    """Returns the first URLs, as many as a job's record may list."""
    lengths = itertools.accumulate(map(len, urls))
    fitting = sum(1 for length in itertools.islice(lengths, MAX_LISTED) if length <= MAX_LISTED_TEXT)
    if fitting < len(urls):
        log.warning("files_not_listed", count=len(urls) - fitting)
    return urls[:fitting]


def _is_foreign_media(url: str) -> bool:
    """Whether a URL may be a file that was made: a provider may have a new host."""
    return url.startswith(("https://", "http://")) and len(url) <= MAX_URL and is_media(url)


def hosts_of(provider: str, settings: Settings) -> tuple[str, ...]:
    """Returns the hosts of a provider's files: its own, and those that RESULT_HOSTS adds."""
    return (*REGISTRY[NUMBERS[provider]].file_hosts, *settings.result_host_names)


def is_of(url: str, hosts: tuple[str, ...], settings: Settings) -> bool:
    """Whether a URL leads to one of the hosts or their subdomains, or to this machine if that is allowed."""
    if not url.startswith(("https://", "http://")):
        return False
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return False
    if settings.allow_loopback and is_loopback_url(url):
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
