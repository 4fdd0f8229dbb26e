"""Stores the files of completed jobs: fetches each from its provider, keeps a copy, makes a thumbnail of it.

One caller at a time works at a job's files, told from others by its turn. Copies of different turns have different
keys, so that one who comes late, whose result is refused, removes nothing but his own.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from shared.budget import Budget
from shared.clock import Clock
from shared.files import File, hosts_of, read_files, write_files
from shared.jobqueue import FollowUp, OutboxQueue
from shared.log import log
from shared.settings import Settings
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.timing import COPY_ALARM, COPY_DEADLINE

if TYPE_CHECKING:
    from shared.egress import GuardedClient

FIELDS = ("owner", "user", "provider", "ended_at", "files", "storing", "turn")
MEDIA = ("video/", "image/", "audio/")
EXTENSIONS = {"image/jpeg": "jpg", "image/webp": "webp"}
SHORTEST_COPY = 10.0  # s; with less time left none is begun
ABORT_DEADLINE = 5.0  # s; as in shared/storage/upload.py, which loads what a start need not
MEDIA_TIMEOUT = 20.0
READ_TIMEOUT = 15.0  # s; for the next piece of a file
TURNS_WITH_MEDIA = 2  # what killed two functions in a row is stored without being looked into
TURNS_TO_BE_GONE = 3  # a file that has just been made may not be there yet for everybody
FIRST_RETRY, LAST_RETRY = 10.0, 300.0  # s


class Storing:
    """Copies what a provider made to the deployment's own storage."""

    def __init__(self, outbox: OutboxQueue, bucket: Bucket, settings: Settings, clock: Clock) -> None:
        self._outbox = outbox
        self._bucket = bucket
        self._settings = settings
        self._clock = clock
        self._clients: dict[tuple[str, ...], GuardedClient] = {}
        self._at_once = asyncio.Semaphore(2)  # each holds some 20 MB

    async def store(self, row: FollowUp, budget: Budget) -> None:
        """Stores what is pending of a job's files, as far as the time allows; the rest is tried again later."""
        async with self._at_once:
            f = await self._outbox.read(row.id, ("completed",), FIELDS)
            if f.get("storing") != "1" or f.get("turn") != str(row.turn):
                return
            await self._store(row, f, budget)

    async def _store(self, row: FollowUp, f: dict[str, str], budget: Budget) -> None:
        files, ended_at = read_files(f.get("files")), int(f["ended_at"])
        waited = (self._clock.now() - ended_at) / 1000 / self._settings.timing_scale
        pending = [n for n, file in enumerate(files) if file["state"] == "pending"]
        if waited >= COPY_ALARM:
            log.error("copy_late", job=row.id, files=len(pending), minutes=round(waited / 60))
        made: list[str] = []
        for n in pending:
            if waited >= COPY_DEADLINE:
                files[n] |= {"state": "expired", "error": files[n].get("error", "not_copied_in_time")}
            elif budget.left > SHORTEST_COPY + self._settings.store_total_timeout:
                made += await self._copy(row, f, files[n], n, budget)
        if not await self._note(row, files) and made:
            log.warning("copy_stale", job=row.id, turn=row.turn)
            await self._remove_unnoted(row.id, made)

    async def _note(self, row: FollowUp, files: list[File]) -> bool:
        states = [file["state"] for file in files]
        retry_at = None
        if "pending" in states:
            delay = min(LAST_RETRY, FIRST_RETRY * 2 ** min(row.turn - 1, 10)) * self._settings.timing_scale
            retry_at = self._clock.now() + round(delay * 1000)
        log.info(
            "files_noted", job=row.id, turn=row.turn, stored=states.count("stored"), pending=states.count("pending")
        )
        stored = states.count("stored")
        given_up = len(states) - stored
        return await self._outbox.keep(
            row.id, row.turn, write_files(files), retry_at=retry_at, stored=stored, given_up=given_up
        )

    async def _copy(self, row: FollowUp, f: dict[str, str], file: File, n: int, budget: Budget) -> list[str]:
        """Copies one file and notes in it what became of that; returns the keys that it made."""
        from shared.storage.copying import copy_file
        from shared.storage.source import CopyFailed

        folder = layout.job_folder(int(f["ended_at"]), f["owner"], f["user"], row.id)
        wants_media = self._settings.thumbnails and row.turn <= TURNS_WITH_MEDIA
        made: list[str] = []
        async with _spool() as spool:
            try:
                copied = await copy_file(
                    self._client(f["provider"]), file["url"], self._bucket,
                    lambda extension: layout.result_key(folder, n, extension, row.turn),
                    max_bytes=self._settings.storage_max_bytes, spool=spool if wants_media else None,
                    timeout=budget.left - self._settings.store_total_timeout - ABORT_DEADLINE,
                )  # fmt: skip
            except CopyFailed as failure:
                log.warning("copy_failed", job=row.id, file=n, code=failure.code, retryable=failure.retryable)
                file["error"] = failure.code
                if failure.code == "source_gone" and row.turn >= TURNS_TO_BE_GONE:
                    file["state"] = "expired"
                elif not failure.retryable and failure.code != "source_gone":
                    file["state"] = "failed"
                return []
            made.append(copied.key)
            file.pop("error", None)
            file |= {
                "state": "stored", "key": copied.key, "size": copied.size, "type": copied.content_type,
                "sha256": copied.sha256,
            }  # fmt: skip
            if wants_media and copied.content_type.startswith(MEDIA):
                made += await self._look_into(
                    file, spool, lambda extension: layout.thumbnail_key(folder, n, extension, row.turn), budget
                )
        return made

    async def _look_into(self, file: File, spool: Path, key_for: Callable[[str], str], budget: Budget) -> list[str]:
        """Notes what a picture or film is like and keeps its thumbnail; whatever it holds, its copy stays."""
        timeout = min(MEDIA_TIMEOUT, budget.left - self._settings.store_total_timeout)
        if not spool.exists() or timeout <= 0:
            file["media_error"] = "too_large_to_show" if timeout > 0 else "out_of_time"
            return []
        from shared.media.examination import examine

        media = await examine(spool, file["type"], timeout=timeout)
        file |= {name: value for name in ("width", "height", "duration") if (value := getattr(media, name)) is not None}
        if media.error:
            file["media_error"] = media.error
        if media.thumbnail is None or media.thumbnail_type is None:
            return []
        key = key_for(EXTENSIONS[media.thumbnail_type])
        try:
            await self._bucket.save(key, _once(media.thumbnail), media.thumbnail_type)
        except StorageError:
            file["media_error"] = "storage_unavailable"
            return []
        file["thumbnail"] = key
        return [key]

    async def _remove_unnoted(self, job_id: str, made: list[str]) -> None:
        """Removes what this turn made, but for what an earlier note of it has put down; no later one can."""
        known = read_files((await self._outbox.read(job_id, ("completed",), ("files",))).get("files"))
        noted = {file.get(name) for file in known for name in ("key", "thumbnail")}
        await self._remove([key for key in made if key not in noted])

    async def _remove(self, keys: list[str]) -> None:
        try:
            await self._bucket.delete(keys)
        except StorageError as error:
            log.warning("copy_not_removed", reason=str(error), count=len(keys))

    def _client(self, provider: str) -> "GuardedClient":
        hosts = hosts_of(provider, self._settings)
        if hosts not in self._clients:
            from shared.egress import Guard, guarded_client

            self._clients[hosts] = guarded_client(Guard(self._settings.allow_loopback, hosts=hosts), READ_TIMEOUT)
        return self._clients[hosts]

    async def close(self) -> None:
        """Gives back the connections."""
        for client in self._clients.values():
            await client.aclose()


@asynccontextmanager
async def _spool() -> AsyncIterator[Path]:
    """A file of this machine for as long as it is needed."""
    handle, name = tempfile.mkstemp(prefix="sluice-")
    os.close(handle)
    path = Path(name)
    path.unlink()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
