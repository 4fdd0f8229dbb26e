"""Stores the files of completed jobs: fetches each from its provider, keeps a copy, and makes a thumbnail.

One call at a time works on a job's files; its turn identifies it. Copies of different turns have different keys. So a
late turn, whose result is refused, removes only its own copies. Each file is recorded as soon as it is stored. The turn
that records the last one first removes the copies that earlier turns left behind: no caller comes after that record.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from shared import tracing
from shared.budget import Budget
from shared.clock import Clock
from shared.config.settings import Settings
from shared.config.timing import COPY_ALARM, COPY_DEADLINE, MIN_COPY_TIME
from shared.jobqueue import FollowUp, Outbox
from shared.log import log
from shared.storage import layout
from shared.storage.bucket import Bucket, StorageError
from shared.storage.files import File, hosts_of, is_of, read_files, write_files
from shared.storage.spool import fill, spool_path

if TYPE_CHECKING:
    from shared.egress import GuardedClient
    from shared.media.media import Media
    from shared.storage.source import Client, CopyFailed
    from shared.tally import Tally

FIELDS = (
    "owner", "user", "provider", "ended_at", "files", "storing", "turn", "incarnation", "hook_lane", "notified_at",
    "queue", "model",
)  # fmt: skip
MEDIA = ("video/", "image/", "audio/")
EXTENSIONS = {"image/jpeg": "jpg", "image/webp": "webp"}
ABORT_DEADLINE = 5.0  # s; as in shared/storage/upload.py, whose import would slow down a start
MEDIA_TIMEOUT = 20.0
READ_TIMEOUT = 15.0  # s; for the next piece of a file
TIDY_TIMEOUT = 5.0  # s; to list, or to remove, the copies that killed functions left behind
TURNS_WITH_MEDIA = 4  # after so many killed turns, a file is stored without an examination
TRIES_TO_BE_GONE = 3  # with 410; a 403 or 404 may mean that a file is not there yet, and ends at COPY_DEADLINE
FIRST_RETRY, LAST_RETRY = 10.0, 300.0  # s


class Storing:
    """Copies a provider's files to the deployment's storage. Fetches with a guarded client by default.

    A ``tally`` counts the copies, their bytes, and the time from a job's end until its last file was stored.
    """

    tally: "Tally | None" = None

    def __init__(
        self, outbox: Outbox, bucket: Bucket, settings: Settings, clock: Clock, source: "Client | None" = None
    ) -> None:
        self._outbox = outbox
        self._bucket = bucket
        self._settings = settings
        self._clock = clock
        self._source = source
        self._clients: dict[tuple[str, ...], GuardedClient] = {}
        self._at_once = asyncio.Semaphore(2)  # jobs; each takes about 20 MB
        self._examining = asyncio.Lock()  # a child takes the memory that a function has left

    async def store(self, row: FollowUp, budget: Budget) -> None:
        """Stores a job's pending files, as far as the time allows; a later turn tries the rest."""
        async with self._at_once:
            f = await self._outbox.read(row.id, ("completed",), FIELDS)
            if f.get("storing") != "1" or f.get("turn") != str(row.turn):
                return
            with tracing.step("copy", "client", row.id, f.get("incarnation", ""), {"sluice.turn": row.turn}):
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
                _give_up(files[n])
            elif self._has_time(budget):
                files[n]["tries"] = files[n].get("tries", 0) + 1
                new = await self._copy(row, f, files[n], n, budget)
                made += new
                # A function that is killed at the next file loses that one only. The last one is recorded below.
                if new and n != pending[-1] and self._has_time(budget) and not await self._note_progress(row, f, files):
                    return await self._withdraw(row, made, budget)
        if all(file["state"] != "pending" for file in files):
            await self._tidy(row, f, files, made, budget)
        if not await self._note(row, f, files):
            await self._withdraw(row, made, budget)

    def _has_time(self, budget: Budget) -> bool:
        """Whether another copy may begin."""
        return budget.left > MIN_COPY_TIME + self._settings.store_total_timeout

    async def _note_progress(self, row: FollowUp, f: dict[str, str], files: list[File]) -> bool:
        """Records the files stored so far, and renews the turn's lease; returns False if another turn has begun."""
        retry_at = self._clock.now() + round(self._settings.lease * 1000)
        incarnation = f.get("incarnation", "")
        return await self._outbox.keep(row.id, row.turn, write_files(files), retry_at=retry_at, incarnation=incarnation)

    async def _note(self, row: FollowUp, f: dict[str, str], files: list[File]) -> bool:
        states = [file["state"] for file in files]
        retry_at, is_news = None, False
        if "pending" in states:
            delay = min(LAST_RETRY, FIRST_RETRY * 2 ** min(row.turn - 1, 10)) * self._settings.timing_scale
            now = self._clock.now()
            retry_at = now + round(delay * 1000)
            # The job is good, and its owner learns that in minutes, whatever one of its files does.
            news_at = int(f["ended_at"]) + round(self._settings.news_after * 1000)
            if f.get("hook_lane") and "notified_at" not in f and all(map(_has_come_or_failed, files)):
                is_news = now >= news_at  # mutant: news
                retry_at = retry_at if is_news else min(retry_at, news_at)
        stored, pending = states.count("stored"), states.count("pending")
        log.info("files_noted", job=row.id, turn=row.turn, stored=stored, pending=pending)
        is_kept = await self._outbox.keep(
            row.id,
            row.turn,
            write_files(files),
            retry_at=retry_at,
            is_news=is_news,
            stored=stored,
            given_up=len(states) - stored,
            incarnation=f.get("incarnation", ""),
        )
        if self.tally is not None and is_kept and retry_at is None:
            series = f"{f['queue']}|{f['provider']}|{f['model']}"
            self.tally.time("store", self._clock.now() - int(f["ended_at"]), series=series)
        return is_kept

    async def _copy(self, row: FollowUp, f: dict[str, str], file: File, n: int, budget: Budget) -> list[str]:
        """Copies one file and updates its record; returns the keys that it wrote, or may have written."""
        from shared.storage.copying import copy_file
        from shared.storage.source import CopyFailed

        folder = _folder_of(row, f)
        # A turn that ends records its try; a killed one does not.
        is_safe = row.turn - (file["tries"] - 1) <= TURNS_WITH_MEDIA
        with spool_path() if self._settings.thumbnails and is_safe else nullcontext() as spool:
            if "key" in file:  # it was in the output itself
                file["state"] = "stored"
                return await self._look_into(file, spool, folder, n, row, budget, is_spooled=False)
            try:
                copied = await copy_file(
                    self._client(f["provider"]),
                    file["url"],
                    self._bucket,
                    lambda extension: layout.result_key(folder, n, extension, row.turn),
                    max_bytes=self._settings.storage_max_bytes,
                    may_follow=lambda url: is_of(url, hosts_of(f["provider"], self._settings), self._settings),
                    spool=spool,
                    timeout=budget.left - self._settings.store_total_timeout - ABORT_DEADLINE,
                )
            except CopyFailed as failure:
                log.warning("copy_failed", job=row.id, file=n, code=failure.code, retryable=failure.retryable)
                _note_failure(file, failure)
                self._count(f"copies.{failure.code}")
                return []
            self._count("copies.stored")
            self._count("copied_bytes", copied.size)
            file.pop("error", None)
            file |= {
                "state": "stored",
                "key": copied.key,
                "size": copied.size,
                "type": copied.content_type,
                "sha256": copied.sha256,
            }
            return [copied.key, *await self._look_into(file, spool, folder, n, row, budget)]

    def _count(self, name: str, number: int = 1) -> None:
        if self.tally is not None:
            self.tally.count(name, number)

    async def _look_into(
        self,
        file: File,
        spool: Path | None,
        folder: str,
        n: int,
        row: FollowUp,
        budget: Budget,
        *,
        is_spooled: bool = True,
    ) -> list[str]:
        """Examines a stored file, if it is a medium and that is safe; returns as ``_examine``."""
        if not self._settings.thumbnails or not file["type"].startswith(MEDIA):
            return []
        if spool is None:
            file["media_error"] = "skipped"
            return []
        return await self._examine(
            file,
            spool,
            lambda extension: layout.thumbnail_key(folder, n, extension, row.turn),
            budget,
            is_spooled=is_spooled,
        )

    async def _examine(
        self, file: File, spool: Path, key_for: Callable[[str], str], budget: Budget, *, is_spooled: bool
    ) -> list[str]:
        """Records a picture's or film's findings and stores its thumbnail; a failure never affects the copy.

        Ends early enough to record all of it. Returns the key of a thumbnail that it wrote, or may have written.
        """
        if is_spooled and not spool.exists():
            file["media_error"] = "too_large_to_show"
            return []
        from shared.media.examination import examine

        key = ""
        try:
            async with asyncio.timeout(self._time_to_look(budget)):
                if not is_spooled:
                    await fill(spool, self._bucket.read(file["key"]))
                async with self._examining:
                    media = await examine(spool, file["type"], timeout=min(MEDIA_TIMEOUT, self._time_to_look(budget)))
                _note_media(file, media)
                if media.thumbnail is None or media.thumbnail_type is None:
                    return []
                key = key_for(EXTENSIONS[media.thumbnail_type])
                await self._bucket.save(key, _once(media.thumbnail), media.thumbnail_type)
            file["thumbnail"] = key
        except TimeoutError:
            file["media_error"] = "out_of_time"
        except StorageError:
            file["media_error"] = "storage_unavailable"
        except OSError:  # this function's disk is full
            file["media_error"] = "too_large_to_show"
        return [key] if key else []

    def _time_before_note(self, budget: Budget) -> float:
        return max(0.0, budget.left - self._settings.store_total_timeout)

    def _time_to_look(self, budget: Budget) -> float:
        """Leaves time to remove a thumbnail whose upload has no answer: no caller would do it later."""
        return max(0.0, self._time_before_note(budget) - TIDY_TIMEOUT)

    async def _tidy(self, row: FollowUp, f: dict[str, str], files: list[File], made: list[str], budget: Budget) -> None:
        """Removes copies of this and earlier turns that no file names; these turns can record no more of them.

        The copies of a later turn stay: the record will refuse this turn.
        """
        noted = _keys_of(files)
        unnamed = {key for key in made if key not in noted}
        try:
            async with asyncio.timeout(min(TIDY_TIMEOUT, self._time_before_note(budget))):
                if row.turn > 1:
                    async for page in self._bucket.pages(_folder_of(row, f)):
                        unnamed |= {key for key in page if key not in noted and layout.turn_of(key) <= row.turn}
        except (StorageError, TimeoutError) as error:
            log.warning("copies_not_listed", job=row.id, error=type(error).__name__)
        await self._remove(sorted(unnamed), budget)

    async def _withdraw(self, row: FollowUp, made: list[str], budget: Budget) -> None:
        """Leaves the files to the turn that has begun since, and removes this turn's copies."""
        if made:
            log.warning("copy_stale", job=row.id, turn=row.turn)
            await self._remove_unnoted(row.id, made, budget)

    async def _remove_unnoted(self, job_id: str, made: list[str], budget: Budget) -> None:
        """Removes this turn's copies, except those that it recorded before; it can record no more."""
        known = read_files((await self._outbox.read(job_id, ("completed",), ("files",))).get("files"))
        noted = _keys_of(known)
        await self._remove([key for key in made if key not in noted], budget)

    async def _remove(self, keys: list[str], budget: Budget) -> None:
        if not keys:
            return
        try:
            async with asyncio.timeout(min(TIDY_TIMEOUT, self._time_before_note(budget))):
                await self._bucket.delete(keys)
        except (StorageError, TimeoutError) as error:
            log.warning("copy_not_removed", reason=str(error) or "out of time", count=len(keys))

    def _client(self, provider: str) -> "Client":
        if self._source is not None:
            return self._source
        hosts = hosts_of(provider, self._settings)
        if hosts not in self._clients:
            from shared.egress import Guard, guarded_client

            self._clients[hosts] = guarded_client(Guard(self._settings.allow_loopback, hosts=hosts), READ_TIMEOUT)
        return self._clients[hosts]

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            await client.aclose()


def _folder_of(row: FollowUp, f: dict[str, str]) -> str:
    return layout.incarnation_folder(int(f["ended_at"]), f["owner"], f["user"], row.id, f.get("incarnation", ""))


def _has_come_or_failed(file: File) -> bool:
    """Whether a file is final, or its last try has failed."""
    return file["state"] != "pending" or "error" in file


def _give_up(file: File) -> None:
    """Ends a file that was not copied in time."""
    if "key" in file:
        file |= {"state": "stored", "media_error": "skipped"}
    elif file.get("error") == "error_page":
        file["state"] = "failed"  # the provider has something else in its place
    else:
        file |= {"state": "expired", "error": file.get("error", "not_copied_in_time")}


def _note_failure(file: File, failure: "CopyFailed") -> None:
    """Records why a copy failed, and ends the file if no further try may help."""
    file["error"] = failure.code
    if failure.code == "source_gone":
        if not failure.retryable:
            file["gone"] = file.get("gone", 0) + 1
            if file["gone"] >= TRIES_TO_BE_GONE:
                file["state"] = "expired"
    elif not failure.retryable:
        file["state"] = "failed"


def _note_media(file: File, media: "Media") -> None:
    """Records the findings about a picture, film or sound."""
    from shared.storage.kinds import examined_type

    file["type"] = examined_type(file["type"], media.has_picture)
    if media.width is not None:
        file["width"] = media.width
    if media.height is not None:
        file["height"] = media.height
    if media.duration is not None:
        file["duration"] = media.duration
    if media.error:
        file["media_error"] = media.error


def _keys_of(files: list[File]) -> set[str]:
    return {key for file in files for key in (file.get("key"), file.get("thumbnail")) if key}


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
