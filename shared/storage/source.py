"""The file behind a provider's URL, read piece by piece."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, contextmanager
from typing import Any, Protocol

from shared.log import log
from shared.storage.files import CopyError

BLOCK = 256 * 1024  # bytes
GONE = (403, 404, 410)  # a signed URL answers 403 once it has expired
PASSING = (408, 425, 429)  # 4xx that may be otherwise a moment later
RAW = ("", "identity")
PACKED = ("gzip", "x-gzip")
GZIP = 31  # zlib: a gzip header, and the largest window


class CopyFailed(Exception):
    """A file could not be kept. ``code`` is stable, ``retryable`` whether another try may end otherwise."""

    def __init__(self, code: CopyError, *, retryable: bool) -> None:
        super().__init__(code)
        self.code: CopyError = code
        self.retryable = retryable


class Response(Protocol):
    """What is needed of an ``httpx.Response`` whose body is not yet read."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def aiter_raw(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]: ...


class Client(Protocol):
    """What is needed of an ``httpx.AsyncClient``; its timeouts are its maker's business."""

    def stream(
        self, method: str, url: str, *, headers: Mapping[str, str], follow_redirects: bool
    ) -> AbstractAsyncContextManager[Any]: ...


class Source:
    """One GET. Raises CopyFailed, whatever the client or the answer does.

    ``is_waited_for`` stays true when a deadline ends the wait for it, and so tells who was slow.
    """

    def __init__(self, client: Client, url: str, max_bytes: int) -> None:
        self._client = client
        self._url = url
        self._max_bytes = max_bytes
        self.is_waited_for = False

    async def open(self, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        """Sends the request, judges the head of the answer, and gives the body in blocks; ``stack`` closes both."""
        with self._translated():
            request = self._client.stream(
                "GET", self._url, headers={"Accept-Encoding": "identity"}, follow_redirects=False
            )
            response: Response = await stack.enter_async_context(request)
        encoding = _judged(response, self._max_bytes)
        return await stack.enter_async_context(aclosing(self._body(response, encoding)))

    async def _body(self, response: Response, encoding: str) -> AsyncGenerator[bytes, None]:
        unpacked = Unpacked(is_packed=encoding in PACKED)
        size = 0
        async with aclosing(response.aiter_raw(BLOCK)) as blocks:
            while block := await self._next(blocks):
                for piece in unpacked.of(block):
                    size += len(piece)
                    if size > self._max_bytes:
                        raise CopyFailed("too_large", retryable=False)
                    yield piece
        if not unpacked.is_whole:
            raise CopyFailed("source_unavailable", retryable=True)

    async def _next(self, blocks: AsyncIterator[bytes]) -> bytes:
        """The next block; nothing at the end."""
        with self._translated():
            try:
                return await anext(blocks)
            except StopAsyncIteration:
                return b""

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Marks the wait, and turns whatever the client raises into CopyFailed."""
        self.is_waited_for = True
        try:
            yield
            self.is_waited_for = False
        except Exception as error:
            raise _failure_of(error) from None


def _failure_of(error: Exception) -> CopyFailed:
    # Not at the top of the module: it loads httpx, which importing a function must not.
    from shared.egress import EgressRefused

    if isinstance(error, EgressRefused):
        return CopyFailed("address_refused", retryable=error.reason == "unresolved")
    # Of every class: httpx has errors outside its tree, for a URL or a header it cannot read. A file must not be lost
    # over one we did not foresee.
    log.info("source_unavailable", error=type(error).__name__)
    return CopyFailed("source_unavailable", retryable=True)


def _judged(response: Response, max_bytes: int) -> str:
    """The answer's encoding; CopyFailed if its body is not the file, or is too long a one."""
    status = response.status_code
    if status != 200:
        raise _refusal_of(status)
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise CopyFailed("too_large", retryable=False)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in RAW + PACKED:  # though only identity was asked for
        raise CopyFailed("source_unavailable", retryable=False)
    return encoding


def _refusal_of(status: int) -> CopyFailed:
    if 300 <= status < 400:
        return CopyFailed("redirected", retryable=False)
    if status in GONE:
        return CopyFailed("source_gone", retryable=status != 410)  # the others say so before a file is there, too
    return CopyFailed("source_unavailable", retryable=status in PASSING or not 400 <= status < 500)


class Unpacked:
    """Blocks as they are, or out of gzip: some servers pack whatever was asked for. Never more than BLOCK at once."""

    def __init__(self, *, is_packed: bool) -> None:
        self._inflater = zlib.decompressobj(GZIP) if is_packed else None
        self._is_begun = False

    @property
    def is_whole(self) -> bool:
        """Whether nothing is missing at the end."""
        return self._inflater is None or self._inflater.eof or not self._is_begun

    def of(self, block: bytes) -> Iterator[bytes]:
        """The pieces that this block brings; CopyFailed if they cannot be unpacked."""
        if self._inflater is None:
            yield block
            return
        self._is_begun = True
        while True:
            if self._inflater.eof:  # a file may be several members, one behind the other
                self._inflater = zlib.decompressobj(GZIP)
            try:
                piece = self._inflater.decompress(block, BLOCK)
            except zlib.error:
                raise CopyFailed("source_unavailable", retryable=True) from None
            if piece:
                yield piece
            block = self._inflater.unconsumed_tail or self._inflater.unused_data
            # A full piece may leave more behind inside zlib than what is left of the input.
            if not block and (len(piece) < BLOCK or self._inflater.eof):
                return
