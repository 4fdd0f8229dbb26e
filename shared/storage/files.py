"""The files of a job's result: found in a provider's output, noted with the job, shown to its owner."""

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

from shared.config.hosting import is_loopback
from shared.config.providers import NUMBERS, REGISTRY
from shared.config.settings import Settings

MAX_FILES = 50  # of one job that are copied
MAX_LISTED = 200  # of one job
MAX_URL = 4000
MAX_DEPTH = 20  # levels of an output that are searched
UrlOf = Callable[[str], str]  # where the file of a key can be read
File = dict[str, Any]
# state    pending: the copy is under way; stored; expired: the provider deletes it before it could be copied; failed;
#          shown, but never noted: deleted, a copy that STORAGE_RETENTION no longer keeps
# url      the provider's own
# key, size (bytes), type, sha256; of media also width, height (px), duration (s); of some a thumbnail's key
# tries    how often its copy was begun by those who came to note it
# error    why it has no copy; media_error: why it has no thumbnail


def files_in(output: Any, provider: str, settings: Settings) -> list[File]:
    """A file for each URL in the output that leads to the provider's own hosts, each URL once, MAX_LISTED at most.

    Those that are to be copied are pending; one whose URL is too long has failed, and so have those beyond MAX_FILES.
    """
    hosts = hosts_of(provider, settings)
    found = dict.fromkeys(url for url in _texts(output) if is_of(url, hosts, settings))
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


def hosts_of(provider: str, settings: Settings) -> tuple[str, ...]:
    """Where a provider's files come from: its own hosts, and those that RESULT_HOSTS adds."""
    added = (host.strip() for host in settings.result_hosts.split(","))
    return (*REGISTRY[NUMBERS[provider]].file_hosts, *filter(None, added))


def is_of(url: str, hosts: tuple[str, ...], settings: Settings) -> bool:
    """Whether a URL leads to one of the hosts or their subdomains; to this machine where that is allowed."""
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
    """The files as the job keeps them."""
    files: list[File] = json.loads(text) if text else []
    return files


def write_files(files: list[File]) -> str:
    """The files as a job keeps them."""
    return json.dumps(files, separators=(",", ":"))


def gone_before(settings: Settings, now: int) -> int:
    """The moment (ms) whose jobs' copies, and those of earlier ones, are not kept any more at ``now``; 0 keeps all."""
    return max(0, now - settings.storage_retention * 1000) if settings.storage_retention else 0


def without_copies(files: list[File]) -> list[File]:
    """The files as they are once retention has dropped the copies of those that had one."""
    return [{**file, "state": "deleted", "thumbnail": None} if file["state"] == "stored" else file for file in files]


def shown(files: list[File], url_of: UrlOf) -> list[dict[str, Any]]:
    """The files as their owner sees them."""
    return [
        {
            "state": file["state"],
            "url": _url(file, url_of),
            "size": file.get("size"),
            "content_type": file.get("type"),
            "sha256": file.get("sha256"),
            "width": file.get("width"),
            "height": file.get("height"),
            "duration": file.get("duration"),
            "thumbnail_url": url_of(file["thumbnail"]) if file.get("thumbnail") else None,
            "error": file.get("error"),
            "media_error": file.get("media_error"),
        }
        for file in files
    ]


def kept_output(output: Any, files: list[File], url_of: UrlOf) -> Any:
    """The output with the URLs of our own copies in the places of the provider's; null where a copy is deleted."""
    ours = {file["url"]: _url(file, url_of) for file in files if file["state"] in ("stored", "deleted")}
    return _replaced(output, ours) if ours else output


def _url(file: File, url_of: UrlOf) -> str | None:
    """Where the file is now; nowhere once its copy is deleted, since its provider has deleted it long before."""
    if file["state"] == "deleted":
        return None
    return url_of(file["key"]) if file["state"] == "stored" else str(file["url"])


def _texts(value: Any, depth: int = MAX_DEPTH) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict) and depth:
        for item in value.values() if isinstance(value, dict) else value:
            yield from _texts(item, depth - 1)


def _replaced(value: Any, by: dict[str, str | None], depth: int = MAX_DEPTH) -> Any:
    if isinstance(value, str):
        return by.get(value, value)
    if isinstance(value, list) and depth:
        return [_replaced(item, by, depth - 1) for item in value]
    if isinstance(value, dict) and depth:
        return {name: _replaced(item, by, depth - 1) for name, item in value.items()}
    return value
