"""One copy of a long file in its own process: ``python -m bench.copying CASE SOURCE SINK BYTES`` prints JSON.

Each copy needs a new process, since a process's peak memory never falls.
"""

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

import httpx
import obstore

from shared.config.settings import Settings
from shared.egress import Guard, guarded_client
from shared.storage.bucket import Bucket
from shared.storage.copying import copy_file

SHORT = 1024 * 1024  # bytes of a first copy, not measured, which loads modules and opens connections
DEADLINE = 600.0  # s


def memory() -> tuple[int, int]:
    """Returns this process's memory now, and its peak, in bytes."""
    status = Path("/proc/self/status")
    if not status.exists():
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return peak, peak
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024, int(lines["VmHWM"].split()[0]) * 1024


async def copy(client: httpx.AsyncClient, url: str, bucket: Bucket) -> str:
    """Copies as Sluice does; returns the key."""
    stored = await copy_file(
        client,
        url,
        bucket,
        lambda extension: f"sluice.{extension}",
        max_bytes=sys.maxsize,
        spool=None,
        timeout=DEADLINE,
    )
    return stored.key


async def pipe(client: httpx.AsyncClient, url: str, bucket: Bucket) -> str:
    """Passes httpx's iterator to obstore's put, both with their defaults; no digest, no type, no limit."""
    store = await bucket._store()
    async with client.stream("GET", url) as response:
        await obstore.put_async(store, "plain.bin", response.aiter_bytes())
    return "plain.bin"


CASES = {"copy": copy, "pipe": pipe}


async def measure(case: str, source: str, sink: str, size: int) -> dict[str, float]:
    """Returns the seconds of a copy of ``size`` bytes, and by how many bytes it raised the peak of memory."""
    settings = Settings(
        sluice_env="test",
        use_redis_for_tasks=False,
        storage_url="s3://bench",
        storage_endpoint=sink,
        storage_access_key_id="AKIAEXAMPLE",
        storage_secret_access_key="not-a-real-secret",
    )
    bucket = Bucket(settings)
    bucket._is_checked = True  # the bench's server discards what it gets, so a check would find nothing to read
    async with guarded_client(Guard(allow_loopback=True), httpx.Timeout(30)) as client:
        await CASES[case](client, f"{source}/{SHORT}", bucket)
        before, _ = memory()
        began = time.perf_counter()
        key = await CASES[case](client, f"{source}/{size}", bucket)
        took = time.perf_counter() - began
        _, peak = memory()
    assert await bucket.size(key) == size
    return {"seconds": took, "memory": peak - before}


if __name__ == "__main__":
    print(json.dumps(asyncio.run(measure(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])))))
