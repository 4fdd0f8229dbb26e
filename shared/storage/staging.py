"""Files that an output holds itself, as ``data:`` URIs (RFC 2397): they are stored before the output is recorded.

A record holds 4 MB and is read whole at each poll, so it holds no file. What stands in the output instead is a URL of a
host that cannot exist (RFC 2606); documents show the copy's URL in its place.
"""

import base64
import hashlib
from asyncio import to_thread
from collections.abc import AsyncIterator, Iterator, Sequence
from urllib.parse import unquote, unquote_to_bytes

from shared.frozen import dataclass
from shared.json_value import Json
from shared.storage import layout
from shared.storage.addresses import changed_in, replaced
from shared.storage.bucket import Bucket
from shared.storage.files import File, Staged
from shared.storage.kinds import ENOUGH, kind_of

STAND_IN = "https://files.sluice.invalid/"
PIECE = 256 * 1024  # characters that are decoded at a time
URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class Decoded:
    """What is known of a file before it is stored."""

    first: bytes
    size: int  # bytes
    sha256: str


async def stage(output: Json, uris: Sequence[str], bucket: Bucket, folder: str, *, max_bytes: int) -> Staged:
    """Stores the files of these URIs in the folder, and takes them out of the output; raises StorageError.

    A URI that cannot be decoded, or to more than ``max_bytes``, stays. A repeat stores the same files under the same
    keys. Holds a piece of each file at a time, besides the output itself.
    """
    stand_ins: dict[str, str] = {}
    files: dict[str, File] = {}
    for uri in uris:
        decoded = await to_thread(_decoded, uri, max_bytes)
        if decoded is None:
            continue
        kind = await to_thread(kind_of, decoded.first)
        key = layout.staged_key(folder, decoded.sha256, kind.extension)
        stand_in = stand_ins[uri] = STAND_IN + key.rpartition("/")[2]
        if stand_in not in files:
            await bucket.save(key, _each(uri), kind.content_type)
            files[stand_in] = {
                "url": stand_in,
                "state": "pending",
                "key": key,
                "size": decoded.size,
                "type": kind.content_type,
                "sha256": decoded.sha256,
            }
    return Staged(changed_in(output, lambda text: replaced(text, stand_ins.get)), files)


def pieces_of(uri: str) -> Iterator[bytes]:
    """Yields the content of a ``data:`` URI; raises ValueError if it cannot be decoded."""
    head, at = uri[: uri.index(",")], uri.index(",") + 1
    if not head.lower().endswith(";base64"):
        yield unquote_to_bytes(uri[at:])
        return
    if "%" in uri:
        uri, at = unquote(uri[at:]), 0
    left = ""
    for start in range(at, len(uri), PIECE):
        part = left + "".join(uri[start : start + PIECE].split()).translate(URL_SAFE)
        whole = len(part) // 4 * 4
        left = part[whole:]
        yield base64.b64decode(part[:whole], validate=True)
    yield base64.b64decode(left + "=" * (-len(left) % 4), validate=True)


def _decoded(uri: str, max_bytes: int) -> Decoded | None:
    """Returns what is known of the file; None if there is none, or a larger one."""
    first, size, digest = b"", 0, hashlib.sha256()
    try:
        for piece in pieces_of(uri):
            size += len(piece)
            if size > max_bytes:
                return None
            if len(first) < ENOUGH:
                first += piece
            digest.update(piece)
    except ValueError:
        return None
    return Decoded(first[:ENOUGH], size, digest.hexdigest()) if size else None


async def _each(uri: str) -> AsyncIterator[bytes]:
    for piece in pieces_of(uri):
        if piece:
            yield piece
