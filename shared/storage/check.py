"""A check of the bucket at its first use: a wrong right or name shows in the log before a customer's file is lost."""

import asyncio
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING

from shared.connection import find_trouble
from shared.log import log
from shared.storage.errors import StorageError
from shared.storage.refusals import Refusal, cause_of

if TYPE_CHECKING:
    from shared.storage.bucket import Bucket

FOLDER = "check"
CONTENT = b"Sluice checks that it may write, read, list and delete."
TIMEOUT = 15.0  # s; a file that cannot be saved waits for it
TIDY_TIMEOUT = 2.0
FROZEN_FOR = 5.0  # s beyond TIMEOUT; then the platform has stopped the process meanwhile, between two calls of it


async def check(bucket: "Bucket") -> None:
    """Writes, reads, lists and deletes a small file, and logs the step that fails. Never raises StorageError."""
    key = f"{FOLDER}/{secrets.token_hex(8)}"
    step, now = "write", asyncio.get_running_loop().time
    began = now()
    try:
        async with asyncio.timeout(TIMEOUT):
            await bucket.write(key, CONTENT)
            step = "read"
            if b"".join([piece async for piece in bucket.read(key)]) != CONTENT:
                raise StorageError("read: other content")
            step = "list"
            if key not in [found async for page in bucket.pages(FOLDER) for found in page]:
                raise StorageError("list: the file is missing")
            step = "delete"
            await bucket.delete([key])
            if await bucket.size(key) is not None:
                raise StorageError("delete: the file is still there")
    except (StorageError, TimeoutError) as error:
        if now() - began > TIMEOUT + FROZEN_FOR:
            return await tidy(bucket, key)
        trouble = await find_trouble(bucket.server)
        refusal = error.refusal if isinstance(error, StorageError) else Refusal()
        cause = {"trouble": trouble} if trouble else cause_of(refusal, step, bucket)
        log.error("storage_check_failed", step=step, reason=str(error) or "no answer", bucket=bucket.bucket, **cause)
        await tidy(bucket, key)
    except asyncio.CancelledError:
        await tidy(bucket, key)
        raise
    else:
        log.info("storage_checked", bucket=bucket.bucket)


async def tidy(bucket: "Bucket", key: str) -> None:
    """Deletes a check's file, if the bucket lets it within TIDY_TIMEOUT."""
    with suppress(StorageError, TimeoutError):
        async with asyncio.timeout(TIDY_TIMEOUT):
            await bucket.delete([key])
