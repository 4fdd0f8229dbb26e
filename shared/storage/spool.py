"""A second copy of a file while it is copied, on the function's disk."""

import asyncio
import functools
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

MAX_SPOOLED = 256 * 1024**2  # bytes; AWS Lambda and Vercel give /tmp 512 MB
PREFIX = "sluice-media-"  # of the folders for files that are examined; no other program uses it
LEFT_AFTER = 3600.0  # s; no function runs for so long


@contextmanager
def spool_path() -> Iterator[Path]:
    """Yields a path on this machine for one file, and removes it at the end.

    The first call of a process also removes folders that killed processes left more than an hour ago: AWS Lambda keeps
    a function's disk when it restarts the function.
    """
    # No threads: a cancellation would then leave the folder behind.
    _remove_leftovers(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix=PREFIX, ignore_cleanup_errors=True) as folder:
        yield Path(folder) / "file"


@functools.cache
def _remove_leftovers(temporary: str) -> None:
    """Removes old folders; once per process and temporary folder."""
    for folder in Path(temporary).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.lstat().st_mtime > LEFT_AFTER:
                shutil.rmtree(folder)


async def fill(path: Path, blocks: AsyncIterator[bytes]) -> None:
    """Writes blocks to a path; it ends with the iterator's error, and then the file is not whole.

    Without threads, as in ``spool_path``: a file that was in an output has a few MB.
    """
    with path.open("wb") as file:
        async for block in blocks:
            file.write(block)


class Spool:
    """Writes blocks to ``path`` as long as they fit; writes nothing without a path or on a full disk.

    The file stays only if ``finish`` returns True.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._size = 0
        self._file: BinaryIO | None = None
        self._writing: asyncio.Future[None] | None = None
        self._is_wanted = path is not None

    async def write(self, block: bytes) -> None:
        """Adds the block; if it does not fit, removes the file and ignores all further blocks."""
        if not self._is_wanted:
            return
        self._size += len(block)
        if self._size > MAX_SPOOLED:
            await self.close()
            return
        try:
            self._writing = asyncio.ensure_future(asyncio.to_thread(self._write, block))
            await asyncio.shield(self._writing)
        except OSError:
            await self.close()

    async def finish(self) -> bool:
        """Whether the file holds all blocks; the caller then owns it."""
        if not self._is_wanted or self._file is None:
            return False
        try:
            await asyncio.to_thread(self._file.close)
        except OSError:  # the rest of its buffer did not fit
            return False
        self._file, self._is_wanted = None, False
        return True

    async def close(self) -> None:
        """Removes the file unless it is finished. May be called again."""
        if self._is_wanted:
            self._is_wanted = False
            if self._writing is not None:  # after a cancellation, the thread may still create the file
                await asyncio.wait([self._writing])
            await asyncio.to_thread(self._remove)

    def _write(self, block: bytes) -> None:
        if self._file is None and self._path is not None:
            self._file = self._path.open("wb")
        if self._file is not None:
            self._file.write(block)

    def _remove(self) -> None:
        with suppress(OSError):
            if self._file is not None:
                self._file.close()
        with suppress(OSError):
            if self._path is not None:
                self._path.unlink(missing_ok=True)
