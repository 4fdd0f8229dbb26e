"""Serves stored files from a developer's folder or from memory, behind the URLs that Links signs.

A browser plays a film in pieces, so a range is answered as RFC 9110 requires. A request for several ranges gets the
whole file, which the RFC allows.
"""

import hashlib
import re
from collections.abc import AsyncIterator, Mapping

from starlette.requests import ClientDisconnect

from shared.errors import InvalidRequest, LinkRefused, NoSuchFile, RangeRefused, StorageUnavailable
from shared.frozen import dataclass
from shared.jobs.uploads import EXTENSIONS
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.storage.links import disposition

RANGE = re.compile(r"bytes=([0-9]{0,40})-([0-9]{0,40})", re.IGNORECASE)
MAX_AGE = 3600  # s that a browser may keep a file
# A file that is opened runs no script and has no origin. Films and pictures still show.
SANDBOX = (
    "default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; frame-ancestors 'none'; sandbox"
)


@dataclass(frozen=True)
class Piece:
    """The answered part of a file: the bytes from ``start`` up to, not including, ``end``."""

    status: int
    headers: dict[str, str]
    start: int
    end: int


def verify(bucket: Bucket, method: str, key: str, query: Mapping[str, str], now: int, *conditions: str) -> None:
    """Returns if the URL was signed for this request and has not expired; raises LinkRefused otherwise."""
    # Text that UTF-8 cannot encode was never signed, and cannot be compared.
    if not key.isprintable() or not bucket.verify_file_url(method, key, query, now, *conditions):
        raise LinkRefused


async def piece_of(bucket: Bucket, key: str, query: Mapping[str, str], asked: Mapping[str, str], now: int) -> Piece:
    """Returns the answer to a GET or HEAD with the headers ``asked``: 200, 206 or 304.

    Raises NoSuchFile, RangeRefused or StorageUnavailable.
    """
    from shared.storage.kinds import ATTACHED, content_type_of

    try:
        size = await bucket.size(key)
    except StorageError as error:
        raise StorageUnavailable().because(str(error)) from None
    if size is None:
        raise NoSuchFile
    age = max(0, min(int(query["expires"]) - now // 1000, MAX_AGE))
    headers = {
        "Accept-Ranges": "bytes",
        "Cache-Control": f"private, max-age={age}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": SANDBOX,
    }
    etag = _etag(key, size)
    if not etag:
        headers["Cache-Control"] = "private, no-cache"
    else:
        headers["ETag"] = etag
        if etag in asked.get("if-none-match", ""):
            return Piece(304, headers, 0, 0)
    headers["Content-Type"] = content_type_of(key)
    if headers["Content-Type"] in ATTACHED:  # mutant: attached
        headers["Content-Disposition"] = "attachment"
    if "filename" in query:
        headers["Content-Disposition"] = disposition(query["filename"])
    span = _span(asked.get("range", ""), size) if asked.get("if-range", etag) == etag else None
    start, end = span or (0, size)
    headers["Content-Length"] = str(end - start)
    if span is None:
        return Piece(200, headers, start, end)
    return Piece(206, headers | {"Content-Range": f"bytes {start}-{end - 1}/{size}"}, start, end)


async def open_piece(bucket: Bucket, key: str, piece: Piece) -> AsyncIterator[bytes]:
    """Returns the piece's bytes; reads the first ones, so StorageUnavailable comes before the answer begins."""
    blocks = bucket.read(key, piece.start, piece.end)
    try:
        first = await anext(blocks, b"")
    except StorageError as error:
        raise StorageUnavailable().because(str(error)) from None

    async def all_blocks() -> AsyncIterator[bytes]:
        yield first
        async for block in blocks:
            yield block

    return all_blocks()


async def save_upload(bucket: Bucket, key: str, blocks: AsyncIterator[bytes], content_type: str, size: int) -> None:
    """Stores an upload of ``size`` bytes; stores nothing of one with more or fewer, and raises InvalidRequest."""
    try:
        await bucket.save(key, _exactly(blocks, size), content_type)
    except StorageError as error:
        raise StorageUnavailable().because(str(error)) from None


def read_upload_size(content_type: str, length: str | None, most: int) -> int:
    """Returns an upload's size (bytes) from its headers; InvalidRequest for a type or a size that is not allowed."""
    if length is None:
        raise InvalidRequest("An upload must have a length.", field="Content-Length", http_status=411)
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
                raise InvalidRequest("The body has more bytes than its Content-Length.", http_status=413)
            yield block
    except ClientDisconnect:
        seen = -1
    if seen < size:
        raise InvalidRequest("The body did not arrive completely.", http_status=400)


def _etag(key: str, size: int) -> str:
    """Returns a result's ETag, because its content never changes. An upload can be repeated, so it has none."""
    if not key.startswith(f"{layout.RESULTS}/"):
        return ""
    return f'"{hashlib.sha256(f"{key} {size}".encode()).hexdigest()[:24]}"'


def _span(text: str, size: int) -> tuple[int, int] | None:
    """Returns the start and end of the one requested range; None if the whole file is the answer."""
    found = RANGE.fullmatch(text.strip())
    if found is None or found.groups() == ("", ""):
        return None
    first, last = found.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < int(first):
            return None  # not valid, so it is ignored
    if start >= end:
        raise RangeRefused(size)
    return start, end
