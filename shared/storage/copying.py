"""Copies a provider's file from its URL into the bucket, in one pass for a file of any length."""

import asyncio
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

from shared.frozen import dataclass
from shared.storage.bucket import Bucket, StorageError
from shared.storage.files import CopyError
from shared.storage.kinds import ENOUGH, kind_of
from shared.storage.pages import is_error_page
from shared.storage.source import Client, CopyFailed, Source
from shared.storage.spool import Spool


@dataclass(frozen=True)
class Copied:
    """A stored file: its size in bytes, and its digest in hex."""

    key: str
    size: int
    sha256: str
    content_type: str


async def copy_file(
    client: Client,
    url: str,
    bucket: Bucket,
    key_for: Callable[[str], str],
    *,
    max_bytes: int,
    may_follow: Callable[[str], bool] = lambda _: False,
    spool: Path | None,
    timeout: float,
) -> Copied:
    """Copies the file at the URL, of at most ``max_bytes``, within ``timeout`` s; else stores nothing: CopyFailed.

    ``key_for`` returns the key for an extension, which follows from the first bytes. Redirects are followed to URLs
    that ``may_follow`` allows. With ``spool`` the file is also written there, to be examined, unless it is longer than
    MAX_SPOOLED. Giving up may take ABORT_DEADLINE longer; a storage that does not answer in that time keeps parts of
    the file.
    """
    source, copy = Source(client, url, max_bytes, may_follow), Spool(spool)
    try:
        async with asyncio.timeout(timeout):
            return await _copied(source, bucket, key_for, copy)
    except TimeoutError:
        code: CopyError = "source_unavailable" if source.is_waited_for else "storage_unavailable"
        raise CopyFailed(code, retryable=True) from None
    except StorageError:
        raise CopyFailed("storage_unavailable", retryable=True) from None
    finally:
        await copy.close()


async def _copied(source: Source, bucket: Bucket, key_for: Callable[[str], str], spool: Spool) -> Copied:
    async with AsyncExitStack() as stack:
        blocks = await source.open(stack)
        first = b""
        async for block in blocks:
            first += block
            if len(first) >= ENOUGH:
                break
        if not first:
            raise CopyFailed("empty", retryable=True)  # it may not be written yet
        if await asyncio.to_thread(is_error_page, first, source.url):  # loads filetype at first
            raise CopyFailed("error_page", retryable=True)
        kind = await asyncio.to_thread(kind_of, first, source.url)
        tally = Tally(spool)
        key = key_for(kind.extension)
        passing = await stack.enter_async_context(aclosing(tally.of(first, blocks)))
        await bucket.save(key, passing, kind.content_type)
        await spool.finish()
        return Copied(key, tally.size, tally.digest.hexdigest(), kind.content_type)


class Tally:
    """Passes blocks on; counts, digests and spools them."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self.size = 0
        self.digest = hashlib.sha256()

    async def of(self, first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
        """Yields ``first``, then the rest."""
        yield await self._taken(first)
        async for block in rest:
            yield await self._taken(block)

    async def _taken(self, block: bytes) -> bytes:
        self.size += len(block)
        self.digest.update(block)  # takes less than a millisecond for 256 KiB
        await self._spool.write(block)
        return block
