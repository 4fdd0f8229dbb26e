"""The provider's files and the deployment's bucket, as an instance sees them: each step is an I/O that can fail."""

import functools
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar
from unittest.mock import patch

from shared.storage.bucket import StorageError
from tests.faults.books import Books
from tests.faults.process import Passage, Process
from tests.faults.scenario import Scenario, Work
from tests.invariants import Made, Object

T = TypeVar("T")

HOST = "https://f.replicate.delivery"
BLOCK = 8192  # bytes; all that is needed to detect a file's type
BLOCKS = 3  # of each file


class Surroundings(Protocol):
    """What the files need of the simulation."""

    books: Books
    scenario: Scenario

    def work(self, job_id: str) -> Work:
        """Returns the scenario's work of a job."""

    def complain(self, fault: str) -> None:
        """Reports a broken invariant."""


def urls(prediction: str, count: int) -> list[str]:
    """Returns the URLs of a prediction's files."""
    return [f"{HOST}/{prediction}/{n}.mp4" for n in range(count)]


@functools.cache
def blocks_of(url: str) -> tuple[bytes, ...]:
    """Returns a file's content: it begins like an MP4, and differs from every other file."""
    own = hashlib.sha256(url.encode()).digest() * (BLOCK // 32)
    return (b"\x00\x00\x00\x18ftypmp42" + own[12:], *([own] * (BLOCKS - 1)))


@functools.cache
def truth(url: str) -> Object:
    """Returns size and hash of a whole copy of the file."""
    whole = b"".join(blocks_of(url))
    return Object(len(whole), hashlib.sha256(whole).hexdigest())


@contextmanager
def without_threads() -> Iterator[None]:
    """Runs work for threads at once, so that a run stays a function of its plan."""

    async def at_once(work: Callable[..., T], *arguments: Any) -> T:
        return work(*arguments)

    with patch("asyncio.to_thread", at_once):
        yield


@dataclass
class Response:
    """An answer with an unread body."""

    status_code: int
    next_block: Callable[[int], Any]
    headers: dict[str, str] = field(default_factory=dict)

    async def aiter_raw(self, chunk_size: int | None = None) -> AsyncGenerator[bytes, None]:
        for number in range(BLOCKS):
            yield await self.next_block(number)


class FaultySource:
    """The provider's files. The work's ``source`` lists the results of their GETs in order; the last one repeats."""

    process: Process

    def __init__(self, world: Surroundings) -> None:
        self._world = world

    @asynccontextmanager
    async def stream(self, method: str, url: str, *, headers: Any, follow_redirects: bool) -> AsyncIterator[Response]:
        process = self.process
        way = await self._lossy(process, "open", lambda: self._way(url))

        async def next_block(number: int) -> bytes:
            if way == "breaks" and number == BLOCKS - 1:
                raise ConnectionError
            return await self._lossy(process, "block", lambda: blocks_of(url)[number])

        yield Response({"gone": 410, "down": 503}.get(way, 200), next_block)

    def _way(self, url: str) -> str:
        books = self._world.books
        prediction = url.split("/")[-2]
        count = books.outside.asked[prediction] = books.outside.asked.get(prediction, 0) + 1
        ways = self._world.work(books.made[prediction].job).source
        return ways[min(count, len(ways)) - 1]

    @staticmethod
    async def _lossy(process: Process, verb: str, act: Callable[[], T]) -> T:
        async def acted(passage: Passage) -> T:
            if passage.loss is not None:
                raise TimeoutError
            return act()

        return await process.io(f"files:{verb}", acted)


class FaultyBucket:
    """The bucket. The scenario's ``storage`` lists the results of its saves in order. An object is whole or absent."""

    process: Process

    def __init__(self, world: Surroundings) -> None:
        self._world = world

    async def save(self, key: str, chunks: AsyncIterator[bytes], content_type: str) -> None:
        process, whole = self.process, b"".join([chunk async for chunk in chunks])
        await self._lossy(process, "save", lambda: self._save(key, whole))

    async def delete(self, keys: Sequence[str]) -> None:
        await self._lossy(self.process, "delete", lambda: self._delete(keys))

    async def pages(self, prefix: str) -> AsyncIterator[list[str]]:
        found: list[str] = []
        await self._lossy(self.process, "list", lambda: found.extend(self._below(prefix)))
        if found:
            yield found

    async def folders(self, prefix: str) -> list[str]:
        found: set[str] = set()
        keys = self._world.books.outside.objects
        below = f"{prefix}/"

        def listed() -> None:
            found.update(below + key.removeprefix(below).split("/")[0] for key in keys if key.startswith(below))

        await self._lossy(self.process, "list", listed)
        return sorted(found)

    def url(self, key: str, now: int) -> str:
        return f"https://kept.test/{key}"

    def _save(self, key: str, whole: bytes) -> None:
        books, ways = self._world.books, self._world.scenario.storage
        count = books.outside.asked["saves"] = books.outside.asked.get("saves", 0) + 1
        if ways[min(count, len(ways)) - 1] == "down":
            raise StorageError("down")
        kept = Object(len(whole), hashlib.sha256(whole).hexdigest())
        if kept not in (truth(url) for made in books.made.values() for url in self._urls(made)):
            self._world.complain(f"I6 {key} was stored with {len(whole)} bytes, but is no whole file")
        if key in books.outside.objects:
            self._world.complain(f"I6 {key} was overwritten")
        books.outside.objects[key] = kept

    def _urls(self, made: Made) -> list[str]:
        return urls(made.id, self._world.work(made.job).files)

    def _below(self, prefix: str) -> list[str]:
        return [key for key in self._world.books.outside.objects if key.startswith(f"{prefix}/")]

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            self._world.books.outside.objects.pop(key, None)

    @staticmethod
    async def _lossy(process: Process, verb: str, act: Callable[[], None]) -> None:
        async def acted(passage: Passage) -> None:
            loss = passage.loss
            if loss is None or loss.when == "after":
                act()
            if loss is not None:
                if loss.kind == "stale_repeat":
                    await process.freeze(loss)
                raise StorageError("timeout")

        await process.io(f"bucket:{verb}", acted)
