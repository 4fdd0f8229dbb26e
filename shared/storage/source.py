"""Reads the file behind a provider's URL, piece by piece."""

import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, contextmanager
from typing import Any, Protocol
from urllib.parse import urljoin

from shared.log import log
from shared.storage.files import CopyError

BLOCK = 256 * 1024  # bytes
GONE = (403, 404, 410)  # a signed URL answers 403 once it has expired
PASSING = (408, 425, 429)  # 4xx that another try may not get
REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 3
RAW = ("", "identity")
PACKED = ("gzip", "x-gzip")
GZIP = 31  # zlib: a gzip header, and the largest window


class CopyFailed(Exception):
    """A file could not be copied. ``code`` is stable; ``retryable`` says whether another try may succeed."""

    def __init__(self, code: CopyError, *, retryable: bool) -> None:
        super().__init__(code)
        self.code: CopyError = code
        self.retryable = retryable


class Response(Protocol):
    """The parts of an ``httpx.Response`` that are used, before its body is read."""

    @property
    def status_code(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    def aiter_raw(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]: ...


class Client(Protocol):
    """The part of an ``httpx.AsyncClient`` that is used; the code that creates the client sets its timeouts."""

    def stream(
        self, method: str, url: str, *, headers: Mapping[str, str], follow_redirects: bool
    ) -> AbstractAsyncContextManager[Any]: ...


class Source:
    """One GET. Raises CopyFailed for every failure of the client or the answer.

    ``is_waited_for`` stays true when a deadline ends the wait for the source: then the source was slow, not the bucket.
    """

    def __init__(
        self, client: Client, url: str, max_bytes: int, may_follow: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._client = client
        self.url = url
        self._max_bytes = max_bytes
        self._may_follow = may_follow
        self.is_waited_for = False

    async def open(self, stack: AsyncExitStack) -> AsyncIterator[bytes]:
        """Sends the request, checks the answer's status and headers, and returns the body's blocks.

        ``stack`` closes the answer and the blocks.
        """
        response = await self._answer(stack)
        for _ in range(MAX_REDIRECTS):
            if (target := _target_of(response, self.url)) is None or not self._may_follow(target):
                break
            self.url = target
            response = await self._answer(stack)
        encoding = _encoding_of(response, self._max_bytes)
        return await stack.enter_async_context(aclosing(self._body(response, encoding)))

    async def _answer(self, stack: AsyncExitStack) -> Response:
        with self._translated():
            request = self._client.stream(
                "GET", self.url, headers={"Accept-Encoding": "identity"}, follow_redirects=False
            )
            response: Response = await stack.enter_async_context(request)
            return response

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
        """Returns the next block; an empty one at the end."""
        with self._translated():
            try:
                return await anext(blocks)
            except StopAsyncIteration:
                return b""

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Marks the wait, and turns all errors of the client into CopyFailed."""
        self.is_waited_for = True
        try:
            yield
            self.is_waited_for = False
        except Exception as error:
            raise _failure_of(error) from None


def _target_of(response: Response, url: str) -> str | None:
    """Returns where an answer redirects to; None if it does not, or to no URL."""
    location = response.headers.get("location", "")
    if response.status_code not in REDIRECTS or not location:
        return None
    try:
        return urljoin(url, location)
    except ValueError:
        return None


def _failure_of(error: Exception) -> CopyFailed:
    # Not at the top of the module: it loads httpx, which the import of a function must not.
    from shared.egress import EgressRefused

    if isinstance(error, EgressRefused):
        is_unknown = error.reason in ("unresolved", "lookup")
        return CopyFailed("unresolved" if is_unknown else "address_refused", retryable=is_unknown)
    # Errors of every class: httpx has some outside its tree, for a URL or a header that it cannot read. An unforeseen
    # error must not lose a file.
    log.info("source_unavailable", error=type(error).__name__)
    return CopyFailed("source_unavailable", retryable=True)


def _encoding_of(response: Response, max_bytes: int) -> str:
    """Returns the answer's encoding; raises CopyFailed if its body is not the file, or too long."""
    status = response.status_code
    if status != 200:
        raise _refusal_of(status)
    length = response.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise CopyFailed("too_large", retryable=False)
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in RAW + PACKED:  # although the request accepts identity only
        raise CopyFailed("source_unavailable", retryable=False)
    return encoding


def _refusal_of(status: int) -> CopyFailed:
    if 300 <= status < 400:
        return CopyFailed("redirected", retryable=False)
    if status in GONE:
        return CopyFailed("source_gone", retryable=status != 410)  # 403 and 404 may also mean: not yet
    return CopyFailed("source_unavailable", retryable=status in PASSING or not 400 <= status < 500)


class Unpacked:
    """Yields blocks as they are, or unpacked: some servers send gzip without being asked. At most BLOCK at a time."""

    def __init__(self, *, is_packed: bool) -> None:
        self._inflater = zlib.decompressobj(GZIP) if is_packed else None
        self._is_begun = False

    @property
    def is_whole(self) -> bool:
        """Whether the stream so far is complete."""
        return self._inflater is None or self._inflater.eof or not self._is_begun

    def of(self, block: bytes) -> Iterator[bytes]:
        """Yields the pieces of this block; raises CopyFailed if they cannot be unpacked."""
        if self._inflater is None:
            yield block
            return
        self._is_begun = True
        while True:
            if self._inflater.eof:  # a gzip file may have several members in a row
                self._inflater = zlib.decompressobj(GZIP)
            try:
                piece = self._inflater.decompress(block, BLOCK)
            except zlib.error:
                raise CopyFailed("source_unavailable", retryable=True) from None
            if piece:
                yield piece
            block = self._inflater.unconsumed_tail or self._inflater.unused_data
            # After a full piece, zlib may hold more output, even without more input.
            if not block and (len(piece) < BLOCK or self._inflater.eof):
                return
