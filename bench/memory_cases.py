"""One large thing from outside, in a process of its own: ``python -m bench.memory_cases CASE SERVER`` prints JSON.

Each case needs a new process, since a process's peak memory never falls. It does the same with something small first,
which loads modules and opens connections. Behind that the baseline is read.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from bench.copying import memory
from bench.memory_edge import CONNECTIONS, PAGE_BYTES, Pages, stuck_bodies
from shared.config.settings import Settings
from shared.providers.base import Prediction
from shared.providers.failures import classify_failure
from shared.providers.replicate_api import Replicate
from shared.storage.bucket import Bucket
from shared.storage.files import data_uris_in
from shared.storage.staging import stage

MIB = 1024 * 1024
SMALL = 1000  # bytes
DEADLINE = 300.0  # s
Case = Callable[[str, int], Awaitable[None]]  # the server's URL, and the bytes of what comes


def settings(server: str, **changes: str) -> Settings:
    """Returns the settings of a deployment whose provider is the server."""
    given: dict[str, Any] = {"replicate_base_url": server, "replicate_api_token": "r8_bench", **changes}
    return Settings(sluice_env="test", use_redis_for_tasks=False, **given)


async def answer(server: str, kind: str, size: int) -> Prediction:
    """Asks the provider about a prediction whose ``kind`` has this many bytes."""
    provider = Replicate(settings(server))
    try:
        return await provider.get(f"{kind}-{size}", DEADLINE)
    finally:
        await provider.close()


async def output(server: str, size: int) -> None:
    """A provider's answer that is far larger than what is read."""
    said = await answer(server, "output", size)
    assert said.status == ("unreadable" if size > SMALL else "completed")


async def error(server: str, size: int) -> None:
    """A provider's error text, classified as a failed attempt's is."""
    said = await answer(server, "error", size)
    assert said.status == "failed" and classify_failure(said.error)[0] == "unknown" and len(said.error) <= SMALL


async def film(server: str, size: int) -> None:
    """A file inside an output, which is stored before the output is recorded."""
    said = await answer(server, "film", size)
    with tempfile.TemporaryDirectory() as folder:
        bucket = Bucket(settings(server, storage_url=Path(folder).as_uri()))
        staged = await stage(said.output, data_uris_in(said.output), bucket, "film", max_bytes=2 * size)
        assert [file["size"] for file in staged.files.values()] == [size // 4 * 3]


# Each case, and the bytes of what comes.
CASES: dict[str, tuple[Case, int]] = {
    "a provider's answer of 200 MB": (output, 200 * MIB),
    "an error text of 10 MB": (error, 10 * MIB - SMALL),
    "a film of 7 MB in an output": (film, 10 * MIB - SMALL),
    f"{CONNECTIONS} webhooks whose bodies get stuck": (stuck_bodies, 40 * 10 * MIB),
    "150 pages of a batch": (Pages().read, 150 * PAGE_BYTES),
}


async def measure(case: Case, server: str, size: int) -> dict[str, int]:
    """Returns the memory before and behind the case, and its peak, in bytes."""
    await case(server, SMALL)
    baseline, _ = memory()
    await case(server, size)
    left, peak = memory()
    return {"baseline": baseline, "peak": peak, "left": left}


if __name__ == "__main__":
    chosen, most = CASES[sys.argv[1]]
    print(json.dumps(asyncio.run(measure(chosen, sys.argv[2], int(sys.argv[3]) if sys.argv[3:] else most))))
