"""A deployment that stores files, a provider's file host, and every kind of storage."""

import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from local.rest_server.running import RunningServer
from shared.clock import ManualClock
from shared.storage.bucket import Bucket
from tests.buckets import file_settings, memory_settings, s3_settings
from tests.http.erasure.jobs import DAY, FILM
from tests.receiver import Receiver, receiver
from tests.world import World, make_world


@pytest.fixture
async def source() -> AsyncIterator[Receiver]:
    """The host of the provider's files and of the owners' endpoints."""
    async with receiver() as made:
        made.answers = lambda _: (200, {"Content-Type": "video/mp4"}, FILM)
        yield made


@pytest.fixture
async def world(any_store: RunningServer | None) -> AsyncIterator[World]:
    location = f"memory://{secrets.token_hex(8)}"
    async with make_world(
        any_store, ManualClock(), allow_loopback=True, storage_url=location, thumbnails=False, max_user_queued=100
    ) as made:
        yield made


@pytest.fixture(params=["file", "memory", pytest.param("s3", marks=pytest.mark.exhaustive)])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Bucket:
    if request.param == "file":
        return Bucket(file_settings(tmp_path, storage_retention=DAY))
    if request.param == "memory":
        return Bucket(memory_settings(storage_retention=DAY))
    server = request.getfixturevalue("s3")
    return Bucket(s3_settings(server, server.bucket(), storage_retention=DAY))
