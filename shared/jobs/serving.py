"""Serves kept files where no bucket does: a developer's own folder or memory, behind the URLs that Links signs.

A browser plays a film in pieces, so a range is answered as RFC 9110 wants it; of several ranges at once, which a server
may answer whole, none is cut.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from starlette.requests import ClientDisconnect

from shared.errors import InvalidRequest, LinkRefused, NoSuchFile, RangeRefused, StorageUnavailable
from shared.jobs.uploads import EXTENSIONS
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.storage.links import disposition

RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)
MAX_AGE = 3600  # s that a browser may keep a file


@dataclass(frozen=True)
class Piece:
    """What of a file is answered: the bytes from ``start`` to before ``end``."""

    status: int
    headers: dict[str, str]
    start: int
    end: int


def verify(bucket: Bucket, method: str, key: str, query: Mapping[str, str], now: int, *conditions: str) -> None:
    """Returns if the URL was made for this request and its time is not over; else LinkRefused."""
    # What UTF-8 cannot carry was never signed, and could not be compared.
    if not key.isprintable() or not bucket.verify_file_url(method, key, query, now, *conditions):
        raise LinkRefused


async def piece_of(bucket: Bucket, key: str, query: Mapping[str, str], asked: Mapping[str, str], now: int) -> Piece:
    """How a GET or HEAD with the headers ``asked`` is answered: 200, 206 or 304.

    Raises NoSuchFile, RangeRefused or StorageUnavailable.
    """
    from shared.storage.kinds import content_type_of

    try:
        size = await bucket.size(key)
    except StorageError:
        raise StorageUnavailable from None
    if size is None:
        raise NoSuchFile
    age = max(0, min(int(query["expires"]) - now // 1000, MAX_AGE))
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={age}",
        "X-Content-Type-Options": "nosniff",
    }
    etag = _etag(key, size)
    if not etag:
        headers["Cache-Control"] = "private, no-cache"
    else:
        headers["ETag"] = etag
        if etag in asked.get("if-none-match", ""):
            return Piece(304, headers, 0, 0)
    headers["Content-Type"] = content_type_of(key)
    if "filename" in query:
        headers["Content-Disposition"] = disposition(query["filename"])
    span = _span(asked.get("range", ""), size) if asked.get("if-range", etag) == etag else None
    start, end = span or (0, size)
    headers["Content-Length"] = str(end - start)
    if span is None:
        return Piece(200, headers, start, end)
    return Piece(206, headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}, start, end)


async def opened(bucket: Bucket, key: str, piece: Piece) -> AsyncIterator[bytes]:
    """The piece's bytes; its beginning has been read, so that StorageUnavailable is raised while it can be answered."""
    blocks = bucket.read(key, piece.start, piece.end)
    try:
        first = await anext(blocks, b"")
    except StorageError:
        raise StorageUnavailable from None

    async def all_blocks() -> AsyncIterator[bytes]:
        yield first
        async for block in blocks:
            yield block

    return all_blocks()


async def keep(bucket: Bucket, key: str, blocks: AsyncIterator[bytes], content_type: str, size: int) -> None:
    """Keeps an upload of ``size`` bytes, and nothing of one that has more or fewer: InvalidRequest then."""
    try:
        await bucket.save(key, _exactly(blocks, size), content_type)
    except StorageError:
        raise StorageUnavailable from None


def upload_terms(content_type: str, length: str | None, most: int) -> int:
    """The size (bytes) that an upload's headers say it has; InvalidRequest for what no upload may be."""
    if length is None:
        raise InvalidRequest("An upload must say its length.", field="Content-Length", http_status=411)
    if not (length.isascii() and length.isdigit()):
        raise InvalidRequest("must be a number of bytes", field="Content-Length", http_status=400)
    if len(length) > 18 or int(length) > most:
        raise InvalidRequest(f"An upload may have at most {most} bytes.", field="Content-Length", http_status=413)
    if content_type not in EXTENSIONS:
        raise InvalidRequest(f"must be one of {', '.join(EXTENSIONS)}", field="Content-Type", http_status=415)
    return int(length)


async def _exactly(blocks: AsyncIterator[bytes], size: int) -> AsyncIterator[bytes]:
    seen = 0
    try:
        async for block in blocks:
            seen += len(block)
            if seen > size:
                raise InvalidRequest("The body has more bytes than it said.", http_status=413)
            yield block
    except ClientDisconnect:
        seen = -1
    if seen < size:
        raise InvalidRequest("The body did not arrive whole.", http_status=400)


def _etag(key: str, size: int) -> str:
    """What a result is known by: its key never gets another content. An upload can be made again, so it has none."""
    if not key.startswith(f"{layout.RESULTS}/"):
        return ""
    return f'"{hashlib.sha256(f"{key} {size}".encode()).hexdigest()[:24]}"'


def _span(text: str, size: int) -> tuple[int, int] | None:
    """The one range that is asked for, as start and end; None where the whole file is to be answered."""
    found = RANGE.fullmatch(text.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None  # not valid, so as if it were not there
    if start >= end:
        raise RangeRefused(size)
    return start, end
