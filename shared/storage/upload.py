"""Uploads a file piece by piece; an error or a cancellation leaves no part of it behind."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from obstore.store import LocalStore, MemoryStore, S3Store

# R2 and S3 accept at most 10,000 parts of at least 5 MiB, all equal except the last: files up to 48 GiB.
PART = 5 * 1024 * 1024  # bytes
PARTS_AT_ONCE = 4  # of PART each, and one more that is being filled; this bounds the memory
ABORT_DEADLINE = 5.0  # s; for the storage to drop the parts of an upload that is given up


class Abandoned(Exception):
    """The upload is given up; never leaves this module."""


class Feed:
    """Passes the chunks to obstore until it is stopped, and keeps the error that ended them."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._first: deque[bytes] = deque()
        self._waiting: asyncio.Task[Any] | None = None
        self._is_stopped = False
        self.error: Exception | None = None

    def __aiter__(self) -> "Feed":
        return self

    async def __anext__(self) -> bytes:
        if self._is_stopped:
            raise Abandoned
        if self._first:
            return self._first.popleft()
        self._waiting = asyncio.current_task()  # obstore asks for each chunk in a separate task
        try:
            return await anext(self._chunks)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self.error = error
            raise
        finally:
            self._waiting = None

    async def short(self) -> bytes | None:
        """Returns the whole file if it is shorter than a part. Else returns None, and iteration starts over."""
        read: deque[bytes] = deque()
        size = 0
        async for chunk in self:
            read.append(chunk)
            size += len(chunk)
            if size >= PART:
                self._first = read
                return None
        return b"".join(read)

    def stop(self) -> None:
        """Ends the upload at the chunk that obstore waits for, or at the next one."""
        self._is_stopped = True
        if self._waiting is not None:
            self._waiting.cancel()


async def run_upload(
    store: "S3Store | LocalStore | MemoryStore", key: str, feed: Feed, attributes: dict[str, str] | None
) -> None:
    """Uploads the feed; raises obstore's errors. A cancellation aborts the upload first.

    obstore 0.12 aborts a multipart upload if its iterator fails, but not if its future is cancelled. The parts would
    stay and cost money. So a cancellation reaches obstore as an error of the iterator.
    """
    import obstore

    whole = await feed.short()
    if whole is not None:  # one request instead of three
        await obstore.put_async(store, key, whole, attributes=attributes, use_multipart=False)
        return
    upload = asyncio.ensure_future(_in_parts(store, key, feed, attributes))
    try:
        await asyncio.shield(upload)
    except asyncio.CancelledError:
        feed.stop()
        try:
            await asyncio.wait([upload], timeout=ABORT_DEADLINE)
        finally:
            upload.cancel()
        raise


async def _in_parts(
    store: "S3Store | LocalStore | MemoryStore", key: str, feed: Feed, attributes: dict[str, str] | None
) -> None:
    import obstore

    await obstore.put_async(
        store, key, feed, attributes=attributes, use_multipart=True, chunk_size=PART, max_concurrency=PARTS_AT_ONCE
    )
