"""A deployment's files: in an S3 bucket, in a folder, or in this process' memory.

obstore does the work. It is imported when a file is first used, because its import would slow down every cold start.
"""

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from shared.storage.errors import StorageError as StorageError
from shared.storage.errors import storage_error
from shared.storage.links import Links
from shared.storage.upload import Feed, run_upload

if TYPE_CHECKING:
    from obstore.store import LocalStore, MemoryStore, S3Credential, S3Store

    from shared.config.settings import Settings
    from shared.storage.role import Role

T = TypeVar("T")

CALL_DEADLINE = 30.0  # s; of one call to the storage, and of waiting for the next piece of a file
CONNECT_TIMEOUT = timedelta(seconds=5)
ANSWER_TIMEOUT = timedelta(seconds=30)  # also for one part of an upload, from its first byte to the answer
MAX_REQUEST = timedelta(minutes=15)  # no function runs longer; a GET of a large file may take all of it
RETRIES = 3
RETRY_FOR = timedelta(seconds=20)
BLOCK = 1024 * 1024  # bytes, at least, that a read yields at a time
PAGE = 1000  # keys that S3 lists or deletes in one call


class Bucket(Links):
    """The stored files and their URLs, by keys relative to the deployment's folder below STORAGE_URL.

    Works in every event loop. The only error that its methods raise for a failure of the storage is StorageError.
    """

    def __init__(self, settings: "Settings") -> None:
        super().__init__(settings)
        self._opens = threading.Lock()
        self._opened: S3Store | LocalStore | MemoryStore | None = None
        self._is_checked = settings.storage_scheme != "s3"
        self.checking: asyncio.Future[None] | None = None  # held, so that it is not collected

    async def save(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        """Stores the chunks as one file under the key. A reader sees the old file or the whole new one.

        Holds about 25 MB at most, even for a long file or a slow storage. Raises the iterator's error if it fails; then
        nothing is stored, and also not if the caller is cancelled before the last chunk. Only a process that dies
        leaves parts behind: they are invisible, and a bucket's lifecycle rule can remove them.

        Next to the first file of a process, it checks the rights to a bucket and logs what fails. Only a file that
        failed waits for the check, which may say why.
        """
        if self._is_checked:
            return await self._save(key, chunks, content_type)
        from shared.storage.check import check

        self._is_checked = True
        self.checking = asyncio.ensure_future(check(self))
        try:
            await self._save(key, chunks, content_type)
        except asyncio.CancelledError:
            await self.close()
            raise
        except Exception:
            await asyncio.wait([self.checking])
            raise

    async def close(self) -> None:
        """Ends a check that still runs."""
        if self.checking is not None:
            self.checking.cancel()
            await asyncio.wait([self.checking])

    async def write(self, key: str, content: bytes) -> None:
        """Stores a small file of plain text in one request."""
        import obstore

        async with _within_deadline("write"):
            await obstore.put_async(await self._store(), key, content, use_multipart=False)

    async def _save(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        attributes = None if self.settings.storage_scheme == "file" else _attributes_of(content_type)
        feed = Feed(chunks)
        try:
            await run_upload(await self._store(), key, feed, attributes)
        except Exception as error:
            if feed.error is not None:
                raise feed.error from None
            raise storage_error("save", error) from None

    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """Yields the file's bytes from ``start`` up to, not including, ``end``, in pieces of about 1 MiB."""
        if end is not None and end <= start:
            return
        import obstore

        span: Any = {} if not start and end is None else {"range": {"offset": start} if end is None else (start, end)}
        async with _within_deadline("read"):
            pieces = aiter((await obstore.get_async(await self._store(), key, options=span)).stream(BLOCK))
        async for piece in _each("read", pieces):
            yield bytes(piece)

    async def size(self, key: str) -> int | None:
        """Returns the file's size in bytes; None if there is no file."""
        import obstore

        with _translated("size"):
            try:
                async with asyncio.timeout(CALL_DEADLINE):
                    return int((await obstore.head_async(await self._store(), key))["size"])
            except FileNotFoundError:
                return None

    async def delete(self, keys: Sequence[str]) -> None:
        """Removes these files; missing ones are no error."""
        import obstore

        one_by_one = self.settings.storage_scheme == "file"  # obstore stops at the first missing file
        size = 1 if one_by_one else PAGE
        for page in (keys[at : at + size] for at in range(0, len(keys), size)):
            with _translated("delete"):
                try:
                    async with asyncio.timeout(CALL_DEADLINE):
                        await obstore.delete_async(await self._store(), list(page))
                except FileNotFoundError:
                    continue

    async def pages(self, prefix: str) -> AsyncIterator[list[str]]:
        """Yields the keys of all files below a folder, at any depth, up to 1000 at a time."""
        import obstore

        with _translated("list"):
            found = obstore.list(await self._store(), prefix.rstrip("/"), chunk_size=PAGE)
        async for page in _each("list", aiter(found)):
            yield [item["path"] for item in page]

    async def folders(self, prefix: str) -> list[str]:
        """Returns the keys of the folders directly below this one, sorted, without a trailing slash."""
        import obstore

        async with _within_deadline("folders"):
            found = await obstore.list_with_delimiter_async(await self._store(), prefix.rstrip("/"))
            return sorted(found["common_prefixes"])

    async def _store(self) -> "S3Store | LocalStore | MemoryStore":
        if self._opened is None:
            # In a thread: it reads the machine's certificates, which takes about 30 ms.
            return await asyncio.to_thread(self._open_once)
        return self._opened

    def _open_once(self) -> "S3Store | LocalStore | MemoryStore":
        """Opens the storage for the first of the threads that want to; the others wait for it."""
        with self._opens:
            if self._opened is None:
                self._opened = self._open()
            return self._opened

    def _open(self) -> "S3Store | LocalStore | MemoryStore":
        location, scheme = self.settings.storage_location or "", self.settings.storage_scheme
        if scheme == "memory":
            return _memory(location, self.prefix)
        if scheme == "file":
            from obstore.store import LocalStore

            folder = Path(url2pathname(urlsplit(location).path)) / self.prefix
            return LocalStore(folder, mkdir=True, automatic_cleanup=True)  # removes a day's folder with its last file
        if scheme == "s3":
            return self._open_s3()
        raise StorageError("there is no storage")

    def _open_s3(self) -> "S3Store":
        from obstore.store import S3Store

        # Made here: obstore's threads, which ask for keys, would make one each.
        role = self.role if self.settings.asks_for_keys else None
        return S3Store(
            self.bucket,
            prefix=self.prefix or None,
            endpoint=self.server,
            region=self.region,
            credential_provider=lambda: self._s3_credentials(role),
            client_options={
                "connect_timeout": CONNECT_TIMEOUT,
                "read_timeout": ANSWER_TIMEOUT,
                "timeout": MAX_REQUEST,
                "allow_http": self.server.startswith("http://"),
            },
            retry_config={"max_retries": RETRIES, "retry_timeout": RETRY_FOR},
        )

    def _s3_credentials(self, role: "Role | None") -> "S3Credential":
        """Returns the credentials. Passed as settings, obstore would mix them with the token of AWS_SESSION_TOKEN."""
        # Asked for once: the next answer may be of other keys, with another end.
        keys = role.keys() if role else None
        own = keys.credentials if keys else self.credentials
        return {
            "access_key_id": own.access_key_id,
            "secret_access_key": own.secret_access_key,
            "token": own.session_token,
            "expires_at": keys.expires_at if keys else None,  # obstore asks again before; without a time never
        }


def _attributes_of(content_type: str) -> dict[str, str]:
    """Returns what the storage sends with a file of this type, also by a public URL."""
    from shared.storage.kinds import ATTACHED

    attributes = {"Content-Type": content_type}
    return attributes | {"Content-Disposition": "attachment"} if content_type in ATTACHED else attributes


@functools.cache
def _memory(location: str, prefix: str) -> "MemoryStore":
    """Returns one store for each URL and prefix, so all parts of a process see the same files."""
    from obstore.store import MemoryStore

    return MemoryStore()


@contextmanager
def _translated(verb: str) -> Iterator[None]:
    """Turns all errors that obstore raises into StorageError: its own, OSError, ValueError and others."""
    try:
        yield
    except StorageError:
        raise
    except Exception as error:
        raise storage_error(verb, error) from None


@asynccontextmanager
async def _within_deadline(verb: str) -> AsyncIterator[None]:
    with _translated(verb):
        async with asyncio.timeout(CALL_DEADLINE):
            yield


async def _each(verb: str, items: AsyncIterator[T]) -> AsyncIterator[T]:
    """Yields the items; waits for each at most CALL_DEADLINE."""
    while True:
        try:
            async with asyncio.timeout(CALL_DEADLINE):
                item = await anext(items)
        except StopAsyncIteration:
            return
        except Exception as error:
            raise storage_error(verb, error) from None
        yield item
